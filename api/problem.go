package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rhizome-p2p/rhizome"
)

// A Code is the class of an error. Each has one exit code of the program.
type Code string

// The classes, in the order of their exit codes from 1 on.
const (
	CodeError       Code = "error"
	CodeUsage       Code = "usage"
	CodeConfig      Code = "config"
	CodeNotFound    Code = "not-found"
	CodeUnreachable Code = "unreachable"
	CodeAuth        Code = "auth"
	CodeValidation  Code = "validation"
	CodeConflict    Code = "conflict"
	CodeTimeout     Code = "timeout"
	CodeLocked      Code = "locked"
	CodeGone        Code = "gone"
	CodeHorizon     Code = "horizon"
	CodeResolver    Code = "resolver"
)

// ExitCodes says what each exit code of the program means.
var ExitCodes = []struct {
	Exit    int
	Code    Code
	Meaning string
}{
	{0, "", "ok"},
	{1, CodeError, "error"},
	{2, CodeUsage, "wrong usage: unknown command, flag or number of arguments"},
	{3, CodeConfig, "configuration: unreadable, unknown key, bad value, or no repo"},
	{4, CodeNotFound, "not found"},
	{5, CodeUnreachable, "node unreachable"},
	{6, CodeAuth, "token missing or wrong, or request refused for its origin"},
	{7, CodeValidation, "input that no node would take"},
	{8, CodeConflict, "conflict, or a precondition that no longer holds"},
	{9, CodeTimeout, "timed out, or not converged"},
	{10, CodeLocked, "repo locked, or of a newer format"},
	{11, CodeGone, "raw history that is no longer held"},
	{12, CodeHorizon, "a past that can no longer be read or undone: it lies below the horizon"},
	{13, CodeResolver, "a property has no value: its resolver failed, or its values break its type"},
}

// Exit returns the program's exit code for the class.
func (c Code) Exit() int {
	for _, e := range ExitCodes {
		if e.Code == c && c != "" {
			return e.Exit
		}
	}
	return 1
}

// A Problem is an error as it goes over HTTP (RFC 9457) and as the program
// prints it.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
	Code   Code   `json:"code"`
	// Line is the line of an import at fault.
	Line int `json:"line,omitempty"`
	// Cursor is, where something is gone, the one to follow on from, and of a
	// horizon the first that can be read as of; Time is the horizon's.
	Cursor string     `json:"cursor,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Error returns what went wrong.
func (p *Problem) Error() string { return p.Detail }

// NewProblem returns a problem of a class with the status that goes with it.
func NewProblem(code Code, detail, hint string) *Problem {
	status := http.StatusInternalServerError
	switch code {
	case CodeUsage:
		status = http.StatusBadRequest
	case CodeNotFound:
		status = http.StatusNotFound
	case CodeAuth:
		status = http.StatusForbidden
	case CodeValidation:
		status = http.StatusUnprocessableEntity
	case CodeResolver:
		status = http.StatusFailedDependency
	case CodeConflict:
		status = http.StatusConflict
	case CodeUnreachable, CodeLocked:
		status = http.StatusServiceUnavailable
	case CodeTimeout:
		status = http.StatusGatewayTimeout
	case CodeGone, CodeHorizon:
		status = http.StatusGone
	}
	return (&Problem{Detail: detail, Hint: hint, Code: code}).withStatus(status)
}

func (p *Problem) withStatus(status int) *Problem {
	p.Status = status
	p.Title = http.StatusText(status)
	p.Type = "urn:rhizome:problem:" + string(p.Code)
	return p
}

// Problemf returns a problem of a class without a hint.
func Problemf(code Code, format string, args ...any) *Problem {
	return NewProblem(code, fmt.Sprintf(format, args...), "")
}

// WithStatus returns the problem under another HTTP status.
func (p *Problem) WithStatus(status int) *Problem {
	q := *p
	return q.withStatus(status)
}

// ProblemOf returns the problem that an error of a Node is.
func ProblemOf(err error) *Problem {
	var p *Problem
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooBig):
		return NewProblem(CodeValidation, fmt.Sprintf("request body of more than %d bytes", tooBig.Limit),
			"split it into several transactions, or use import").WithStatus(http.StatusRequestEntityTooLarge)
	case errors.Is(err, rhizome.ErrNotFound):
		return NewProblem(CodeNotFound, err.Error(), "")
	case errors.Is(err, rhizome.ErrInvalid):
		return NewProblem(CodeValidation, err.Error(), "")
	case errors.Is(err, rhizome.ErrPrecondition):
		return NewProblem(CodeConflict, err.Error(), "read the key again, and decide on what it holds now").
			WithStatus(http.StatusPreconditionFailed)
	case errors.Is(err, rhizome.ErrConflict):
		return NewProblem(CodeConflict, err.Error(), "")
	case errors.Is(err, rhizome.ErrGone):
		return goneProblem(err)
	case errors.Is(err, rhizome.ErrHorizon):
		return horizonProblem(err)
	case errors.Is(err, rhizome.ErrBusy):
		return NewProblem(CodeConflict, err.Error(), "try again when the node is converged")
	case errors.Is(err, rhizome.ErrReadOnly):
		return NewProblem(CodeError, err.Error(), "see the disk, then start the node again; reads go on meanwhile").
			WithStatus(http.StatusServiceUnavailable)
	case errors.Is(err, rhizome.ErrCorrupt):
		return NewProblem(CodeError, err.Error(), "stop the node; rhizome repair gets the repo anew from its peers, and keeps what can be read")
	case errors.Is(err, rhizome.ErrClosed):
		return NewProblem(CodeUnreachable, err.Error(), "")
	case errors.Is(err, context.DeadlineExceeded):
		return NewProblem(CodeTimeout, err.Error(), "")
	}
	return NewProblem(CodeError, err.Error(), "")
}

// ErrorProblem returns the problem of a key that has no value for the errors of
// its properties.
func ErrorProblem(key string, errs []PropertyError) *Problem {
	e := &errs[0]
	detail := fmt.Sprintf("%s has no value: property %s: %s: %s", key, e.Property, e.Kind, e.Text)
	if len(errs) > 1 {
		detail += fmt.Sprintf(" (and %d more)", len(errs)-1)
	}
	return NewProblem(CodeResolver, detail, "see what it is made of with rhizome explain, and every value with get --lossless")
}

func goneProblem(err error) *Problem {
	p := NewProblem(CodeGone, err.Error(), "its effect is part of the state: read that instead")
	if g := new(rhizome.GoneError); errors.As(err, &g) && g.Cursor != "" {
		p.Cursor = g.Cursor
		p.Hint = "read the state anew with export, then follow on from cursor " + g.Cursor
	}
	return p
}

func horizonProblem(err error) *Problem {
	p := NewProblem(CodeHorizon, err.Error(), "keep more history with a longer retention: see rhizome config show")
	if h := new(rhizome.HorizonError); errors.As(err, &h) {
		p.Cursor = h.Cursor
		if !h.Time.IsZero() {
			t := h.Time.UTC()
			p.Time = &t
		}
	}
	return p
}
