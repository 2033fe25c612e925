package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/rhizome-p2p/rhizome/bench/internal/stat"
)

// figure writes a number with three significant digits and its unit.
func figure(x float64, unit string) string {
	switch unit {
	case "B":
		for _, step := range []struct {
			size float64
			name string
		}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
			if x >= step.size {
				return digits(x/step.size) + " " + step.name
			}
		}
		return digits(x) + " B"
	case "ms":
		if x < 1 {
			return digits(x*1000) + " µs"
		}
	case "s":
		if x < 1 {
			return figure(x*1000, "ms")
		}
	}
	return strings.TrimSpace(digits(x) + " " + unit)
}

// digits writes three significant digits, and thousands apart.
func digits(x float64) string {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	after := max(0, 2-int(math.Floor(math.Log10(math.Abs(x)))))
	text := strconv.FormatFloat(x, 'f', min(after, 4), 64)
	if whole, _, _ := strings.Cut(text, "."); len(whole) > 3 {
		text = thousands(whole)
	}
	return text
}

func thousands(whole string) string {
	var b strings.Builder
	for i, d := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 && whole[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// cell writes a spread, or why there is none.
func (r Row) cell(column string, s *stat.Spread, spread bool) string {
	if s == nil {
		if note := r.Notes[column]; note != "" {
			return note
		}
		return "–"
	}
	text := figure(s.Median, r.Unit)
	if spread && r.Runs > 1 && s.Min != s.Max {
		text += fmt.Sprintf(" (%s … %s)", figure(s.Min, r.Unit), figure(s.Max, r.Unit))
	}
	return text
}

func ratio(x *float64) string {
	if x == nil {
		return "–"
	}
	if *x != 0 && math.Abs(*x) < 0.001 {
		return strconv.FormatFloat(*x, 'g', 2, 64) + " ×"
	}
	return digits(*x) + " ×"
}
