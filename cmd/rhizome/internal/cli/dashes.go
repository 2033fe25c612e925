package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// takeDashes makes arguments such as the -3 of "inc KEY -3" arguments: behind
// the key of a command that takes values, what begins with one dash and is no
// flag of the command is a value. An unknown --word stays a mistake, since it
// is more often a flag misspelt than a value; behind a -- all is taken as it
// is.
func takeDashes(root *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return args, nil // a shell asks for completions
	}
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return args, err
	}
	if _, ok := cmd.Annotations[annotationValues]; !ok {
		return args, nil
	}
	// Flags of the root count as the command's only once it merged them.
	cmd.InheritedFlags()
	var flags, values []string
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case arg == "--":
			values = append(values, rest[i+1:]...)
			i = len(rest)
		case isFlag(cmd, arg, len(values) > 0):
			flags = append(flags, arg)
			if takesNext(cmd, arg) && i+1 < len(rest) {
				i++
				flags = append(flags, rest[i])
			}
		default:
			values = append(values, arg)
		}
	}
	path := strings.Fields(cmd.CommandPath())[1:]
	out := append(path, flags...)
	return append(append(out, "--"), values...), nil
}

// isFlag reports whether an argument is to be read as a flag, be it one that
// does not exist.
func isFlag(cmd *cobra.Command, arg string, behindKey bool) bool {
	if len(arg) < 2 || arg[0] != '-' {
		return false
	}
	return strings.HasPrefix(arg, "--") || !behindKey || lookup(cmd, arg) != nil
}

func lookup(cmd *cobra.Command, arg string) *pflag.Flag {
	if name, ok := strings.CutPrefix(arg, "--"); ok {
		name, _, _ = strings.Cut(name, "=")
		if name == "help" {
			return nil // cobra adds it later; it takes nothing
		}
		return cmd.Flag(name)
	}
	short := arg[1:2]
	if f := cmd.Flags().ShorthandLookup(short); f != nil {
		return f
	}
	if f := cmd.InheritedFlags().ShorthandLookup(short); f != nil {
		return f
	}
	if arg == "-h" {
		return &pflag.Flag{Name: "help", NoOptDefVal: "true"}
	}
	return nil
}

// takesNext reports whether the flag's value is the next argument.
func takesNext(cmd *cobra.Command, arg string) bool {
	f := lookup(cmd, arg)
	if f == nil || f.NoOptDefVal != "" {
		return false
	}
	if strings.HasPrefix(arg, "--") {
		return !strings.Contains(arg, "=")
	}
	return len(arg) == 2
}
