// Ask answers a question that needs every host's data: which packages are
// installed in different versions, and which hosts lack a package that another
// has. It reads what `rhizome export host/` prints:
//
//	rhizome export host/ | go run ./examples/fleet/ask
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// A host is the part of a host's document that the question is about.
type host struct {
	ID       string            `json:"id"`
	Packages map[string]string `json:"packages"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ask:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var hosts []host
	for d := json.NewDecoder(in); ; {
		var h host
		err := d.Decode(&h)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", len(hosts)+1, err)
		}
		h.ID = strings.TrimPrefix(h.ID, "host/")
		hosts = append(hosts, h)
	}
	for _, line := range answer(hosts) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// answer returns the lines of the answer in byte order.
func answer(hosts []host) []string {
	slices.SortFunc(hosts, func(a, b host) int { return strings.Compare(a.ID, b.ID) })
	names := make(map[string]bool)
	for _, h := range hosts {
		for name := range h.Packages {
			names[name] = true
		}
	}
	var lines []string
	for name := range maps.Keys(names) {
		var have, lack []string
		versions := make(map[string]bool)
		for _, h := range hosts {
			v, ok := h.Packages[name]
			if !ok {
				lack = append(lack, h.ID)
				continue
			}
			have = append(have, h.ID+"="+v)
			versions[v] = true
		}
		if len(versions) > 1 {
			lines = append(lines, "differs "+name+" "+strings.Join(have, " "))
		}
		if len(lack) > 0 {
			lines = append(lines, "lacks "+name+" "+strings.Join(lack, " "))
		}
	}
	slices.Sort(lines)
	return lines
}
