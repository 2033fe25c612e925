package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/cmd/rhizome/internal/config"
)

func (a *app) configCmd() *cobra.Command {
	var origin bool
	show := a.command(spec{
		use: "show [--origin]", short: "Print all settings",
		long:    "--origin says where each came from. Secrets are not shown.\n\n" + configHelp(),
		example: "rhizome config show --origin",
		run: func(*cobra.Command, []string) error {
			a.showConfig(origin)
			return nil
		},
	})
	show.Flags().BoolVar(&origin, "origin", false, "say where each value came from")
	validate := a.command(spec{
		use: "validate", short: "Check the configuration",
		long:    "Exits 3 if a file or variable is wrong, unknown RHIZOME_ variables among them.",
		example: "rhizome config validate",
		run: func(*cobra.Command, []string) error {
			if err := unknownVariables(a.Env); err != nil {
				return err
			}
			if a.out.json() {
				a.out.value(map[string]any{"ok": true, "files": append([]string{}, a.cfg.Files...)})
				return nil
			}
			a.out.printf("ok")
			for _, f := range a.cfg.Files {
				a.out.printf("  %s", f)
			}
			a.out.printf("\n")
			return nil
		},
	})
	return a.group("config show|validate", "Show or check the settings", "rhizome config show --origin", show, validate)
}

// configHelp lists the keys and what they are for.
func configHelp() string {
	var b strings.Builder
	b.WriteString("A flag goes before a variable, that before REPO/config.toml, that before\n" +
		"$XDG_CONFIG_HOME/rhizome/config.toml, that before the default. RHIZOME_CONFIG names\n" +
		"one file in place of both. The keys, with their variables:\n")
	for i, name := range config.Names() {
		fmt.Fprintf(&b, "\n  %-10s %-18s %s", name, config.Variables()[i], config.Meaning(name))
	}
	return b.String()
}

func (a *app) showConfig(origin bool) {
	values := map[string]any{}
	var rows [][]string
	for _, name := range config.Names() {
		s := a.cfg.Setting(name)
		text := strings.Join(s.Values, ",")
		if config.Secret(name) && text != "" {
			text = "(set)"
		}
		row := []string{name, text}
		values[name] = text
		if origin {
			values[name] = map[string]string{"value": text, "origin": s.Origin}
			row = append(row, s.Origin)
		}
		rows = append(rows, row)
	}
	if a.out.json() {
		a.out.value(values)
		return
	}
	head := []string{"KEY", "VALUE"}
	if origin {
		head = append(head, "ORIGIN")
	}
	if a.out.form == "raw" {
		head = nil
	}
	a.out.table(head, rows)
}

// unknownVariables reports RHIZOME_ variables that mean nothing, which are
// misspelt more often than not.
func unknownVariables(environ []string) error {
	known := append(config.Variables(), config.Env)
	var unknown []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "RHIZOME_") && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return api.NewProblem(api.CodeConfig, "unknown variables: "+strings.Join(unknown, ", "),
		"the variables are "+strings.Join(known, ", "))
}

// Build is what the program knows of its build.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func buildInfo() build {
	b := build{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func versionLine() string {
	b := buildInfo()
	s := "rhizome " + b.Version
	if b.Commit != "" {
		s += " (" + b.Commit[:min(12, len(b.Commit))]
		if b.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return fmt.Sprintf("%s %s %s/%s", s, b.Go, b.OS, b.Arch)
}

func (a *app) versionCmd() *cobra.Command {
	return a.command(spec{
		use: "version", short: "Print the program's version", example: "rhizome version -o json", bare: true,
		run: func(*cobra.Command, []string) error {
			switch {
			case a.out.json():
				a.out.value(buildInfo())
			case a.out.form == "raw":
				a.out.printf("%s\n", buildInfo().Version)
			default:
				a.out.printf("%s\n", versionLine())
			}
			return nil
		},
	})
}

func (a *app) completionCmd() *cobra.Command {
	cmd := a.command(spec{
		use: "completion SHELL", short: "Print a completion script for bash, zsh, fish or powershell",
		long:    "With -o json, it is a JSON string.",
		example: "rhizome completion bash > /etc/bash_completion.d/rhizome",
		min:     1, max: 1, bare: true,
		run: func(cmd *cobra.Command, args []string) error {
			var script strings.Builder
			var err error
			switch root := cmd.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&script, true)
			case "zsh":
				err = root.GenZshCompletion(&script)
			case "fish":
				err = root.GenFishCompletion(&script, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(&script)
			default:
				return usage(cmd, "completion: shell %q is not one of bash, zsh, fish, powershell", args[0])
			}
			if err != nil {
				return err
			}
			if a.out.json() {
				a.out.value(script.String())
				return nil
			}
			a.out.printf("%s", script.String())
			return nil
		},
	})
	cmd.ValidArgs = []string{"bash", "zsh", "fish", "powershell"}
	return cmd
}
