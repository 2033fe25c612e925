package main

import (
	"fmt"
	"strings"
)

// An object is what a fragment says of one thing.
type object = map[string]any

// in returns the object of a name within another, and makes it where there is
// none.
func in(m object, name string) object {
	child, ok := m[name].(object)
	if !ok {
		child = object{}
		m[name] = child
	}
	return child
}

// parseSysctl reads kernel settings: name = value. One behind a dash may fail.
func parseSysctl(text string) (object, error) {
	out := object{}
	for _, line := range lines(text, "#;") {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("%q: no =", line)
		}
		name, optional := strings.CutPrefix(strings.TrimSpace(name), "-")
		setting := in(out, name)
		setting["value"] = number(strings.TrimSpace(value))
		if optional {
			setting["optional"] = true
		}
	}
	return out, nil
}

// parseModprobe reads options, aliases and dependencies of kernel modules. A
// line may go on behind a backslash.
func parseModprobe(text string) (object, error) {
	out := object{}
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, line := range lines(text, "#") {
		words := strings.Fields(line)
		if len(words) < 2 {
			return nil, fmt.Errorf("%q: %w", line, errShape)
		}
		command, module, rest := words[0], words[1], words[2:]
		switch command {
		case "options":
			for _, option := range rest {
				name, value, _ := strings.Cut(option, "=")
				in(in(out, command), module)[name] = number(value)
			}
		case "blacklist":
			in(out, command)[module] = true
		default: // alias, install, remove, softdep
			in(out, command)[module] = strings.Join(rest, " ")
		}
	}
	return out, nil
}

// parseTmpfiles reads files and directories to be made: type, path, mode, user,
// group, age, argument. A dash stands for none.
func parseTmpfiles(text string) (object, error) {
	out := object{}
	for _, line := range lines(text, "#") {
		words := strings.Fields(line)
		if len(words) < 2 {
			return nil, fmt.Errorf("%q: %w", line, errShape)
		}
		if in(out, words[1])[words[0]] != nil {
			return nil, fmt.Errorf("%q: a second line of that type and path", line)
		}
		entry := in(in(out, words[1]), words[0])
		rest := words[2:]
		for i, name := range []string{"mode", "user", "group", "age", "argument"} {
			if i >= len(rest) {
				break
			}
			value := rest[i]
			if name == "argument" {
				value = strings.Join(rest[i:], " ")
			}
			if value != "-" {
				entry[name] = value // also a mode, which is octal
			}
		}
	}
	return out, nil
}

// parseSysusers reads users and groups: type, name, id, description, home,
// shell. A member line has a user and a group instead.
func parseSysusers(text string) (object, error) {
	out := object{}
	for _, line := range lines(text, "#") {
		words := quoted(line)
		if len(words) < 2 {
			return nil, fmt.Errorf("%q: %w", line, errShape)
		}
		entry := in(in(out, words[0]), words[1])
		if words[0] == "m" && len(words) > 2 {
			entry[words[2]] = true
			continue
		}
		for i, name := range []string{"id", "description", "home", "shell"} {
			if i+2 < len(words) && words[i+2] != "-" {
				entry[name] = number(words[i+2])
			}
		}
	}
	return out, nil
}

// quoted splits a line into words, of which some are in double quotes.
func quoted(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// parseLogrotate reads how log files are rotated: their names, and in braces
// directives and scripts.
func parseLogrotate(text string) (object, error) {
	out := object{}
	var names []string
	var body object
	script := ""
	for _, line := range lines(text, "#") {
		word := strings.Fields(line)[0]
		rest := strings.TrimSpace(line[len(word):])
		switch {
		case script != "" && word == "endscript":
			script = ""
		case script != "":
			old, _ := body[script].(string)
			body[script] = old + line + "\n"
		case body == nil:
			line, open := strings.CutSuffix(line, "{")
			names = append(names, strings.Fields(line)...)
			if open {
				body = object{}
			}
		case word == "}":
			for _, name := range names {
				out[name] = body
			}
			names, body = nil, nil
		case strings.HasSuffix(word, "rotate") && word != "rotate" || strings.HasSuffix(word, "action"):
			script = word
		case rest == "":
			body[word] = true
		default:
			body[word] = number(rest)
		}
	}
	if body != nil || len(names) > 0 {
		return nil, fmt.Errorf("%s: there are no braces, or they are not closed", names)
	}
	return out, nil
}
