// Synthesize converts configuration drop-ins as Debian packages ship them into
// fragments that rhizome synthesize merges:
//
//	go run ./examples/synthesize DROPINS FRAGMENTS
//
// DROPINS holds for each package a directory of its name with the files as the
// package installs them. Every drop-in becomes one fragment, PACKAGE/KIND-NAME
// with the ending of its format, under FRAGMENTS. The kinds of drop-ins that
// are read in the order of their names become envelopes with that order as
// their time; the others are plain.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: synthesize DROPINS FRAGMENTS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	fragments, err := convert(os.DirFS(from))
	if err != nil {
		return err
	}
	for name, text := range fragments {
		name = filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A kind is one kind of drop-ins.
type kind struct {
	// parse reads a drop-in into what a fragment says.
	parse func(text string) (map[string]any, error)
	// ordered says that drop-ins are read in the order of their names, and that
	// later ones override.
	ordered bool
	// ending and encode are the format that the fragments get.
	ending string
	encode func(x any) ([]byte, error)
}

// kinds are named by the directories that the drop-ins are in, less the .d.
var kinds = map[string]kind{
	"sysctl":    {parseSysctl, true, ".toml", toml.Marshal},
	"modprobe":  {parseModprobe, true, ".toml", toml.Marshal},
	"tmpfiles":  {parseTmpfiles, true, ".yaml", yaml.Marshal},
	"sysusers":  {parseSysusers, true, ".json", encodeJSON},
	"logrotate": {parseLogrotate, false, ".yaml", yaml.Marshal},
}

func encodeJSON(x any) ([]byte, error) {
	text, err := json.MarshalIndent(x, "", "  ")
	return append(text, '\n'), err
}

// convert returns the fragments of all drop-ins by the names of their files.
func convert(dropins fs.FS) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := fs.WalkDir(dropins, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		dir, base := path.Split(name)
		k, ok := kinds[strings.TrimSuffix(path.Base(dir), ".d")]
		if !ok {
			return fmt.Errorf("%s: no known kind of drop-in", name)
		}
		text, err := fs.ReadFile(dropins, name)
		if err != nil {
			return err
		}
		fragment, err := k.fragment(name, string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		of, _, _ := strings.Cut(name, "/")
		to := path.Join(of, strings.TrimSuffix(path.Base(dir), ".d")+"-"+strings.TrimSuffix(base, ".conf")+k.ending)
		if _, ok := out[to]; ok {
			return fmt.Errorf("%s: there is a second drop-in for %s", name, to)
		}
		out[to] = fragment
		return nil
	})
	return out, err
}

// fragment returns a drop-in as the text of a fragment.
func (k *kind) fragment(name, text string) ([]byte, error) {
	data, err := k.parse(text)
	if err != nil {
		return nil, err
	}
	name = strings.Replace(name, "/", ": /", 1) // package: path
	var x any = map[string]any{strings.TrimSuffix(path.Base(path.Dir(name)), ".d"): data}
	if k.ordered {
		x = map[string]any{"source": name, "time": timeOf(path.Base(name)), "data": x}
	}
	return k.encode(x)
}

// unnumbered is the time of a drop-in without a number: names begin with two
// digits or with a letter, and letters sort behind digits.
const unnumbered = 100

// timeOf returns the time of a drop-in in the order in which those of its kind
// are read: the number before the first dash, as milliseconds.
func timeOf(base string) int {
	number, _, _ := strings.Cut(base, "-")
	if n, err := strconv.Atoi(number); err == nil && len(number) == 2 {
		return n
	}
	return unnumbered
}

// errShape reports a line of too few words.
var errShape = errors.New("too few words")

// lines returns the lines of a drop-in that say something.
func lines(text, comments string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.ContainsAny(line[:1], comments) {
			out = append(out, line)
		}
	}
	return out
}

// number returns a word as the integer that it is, else as it is.
func number(word string) any {
	if n, err := strconv.ParseInt(word, 10, 64); err == nil && strconv.FormatInt(n, 10) == word {
		return n
	}
	return word
}
