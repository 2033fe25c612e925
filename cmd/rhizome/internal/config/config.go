// Package config finds the program's settings and where each came from.
//
// A flag goes before an environment variable, that before a file, that before
// the default. The files are, the first going before the second:
//
//	REPO/config.toml
//	$XDG_CONFIG_HOME/rhizome/config.toml (~/.config/rhizome/config.toml)
//
// or the one that RHIZOME_CONFIG names, in place of both. An unknown key is an
// error.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/api"
	"github.com/rhizome-p2p/rhizome/api/server"
)

// A Setting is one value and its origin.
type Setting struct {
	Values []string
	Origin string
}

// A Config holds all settings by key.
type Config struct {
	settings map[string]Setting
	// Files are the files that were read.
	Files []string
}

// A key of the configuration.
type key struct {
	name    string
	flag    string // empty where it has none
	env     string
	list    bool
	secret  bool
	choices []string
	// check, where not nil, says what is wrong with a value.
	check   func(string) error
	meaning string
}

// Keys are all keys in the order in which they are shown.
var keys = []key{
	{name: "repo", flag: "repo", env: "RHIZOME_REPO", meaning: "directory of the repo"},
	{name: "api", flag: "api", env: "RHIZOME_API", meaning: "API of a node to talk to, in place of the repo's own"},
	{name: "token", env: "RHIZOME_TOKEN", secret: true, meaning: "token for that API"},
	{
		name: "output", flag: "output", env: "RHIZOME_OUTPUT", choices: []string{"table", "json", "jsonl", "raw"},
		meaning: "form of what is printed",
	},
	{
		name: "log_level", flag: "log-level", env: "RHIZOME_LOG_LEVEL", choices: []string{"debug", "info", "warn", "error"},
		meaning: "least level of what is logged to stderr",
	},
	{name: "space", flag: "space", env: "RHIZOME_SPACE", meaning: "name of the space of a new repo"},
	{name: "join", flag: "join", env: "RHIZOME_JOIN", secret: true, meaning: "invite of the network that a new repo joins"},
	{name: "bootstrap", flag: "bootstrap", env: "RHIZOME_BOOTSTRAP", list: true, meaning: "multiaddrs of peers to dial"},
	{name: "listen", flag: "listen", env: "RHIZOME_LISTEN", list: true, meaning: "multiaddrs to listen on"},
	{name: "http", flag: "http", env: "RHIZOME_HTTP", meaning: "address of the API"},
	{
		name: "retention", flag: "retention", env: "RHIZOME_RETENTION", choices: []string{"archive", "window", "minimal"},
		meaning: "how much raw history is kept",
	},
	{
		name: "retention_age", flag: "retention-age", env: "RHIZOME_RETENTION_AGE",
		check:   func(s string) error { _, err := rhizome.ParseRetention("window", s, ""); return err },
		meaning: "age that a window keeps: 720h, 30d",
	},
	{
		name: "retention_bytes", flag: "retention-bytes", env: "RHIZOME_RETENTION_BYTES",
		check:   func(s string) error { _, err := rhizome.ParseRetention("window", "", s); return err },
		meaning: "bytes that a window keeps at most: 512MiB, 1GiB",
	},
}

// Env is the variable that names the configuration file.
const Env = "RHIZOME_CONFIG"

// Names returns all keys.
func Names() []string {
	out := make([]string, len(keys))
	for i := range keys {
		out[i] = keys[i].name
	}
	return out
}

// Variables returns the environment variables of all keys.
func Variables() []string {
	out := make([]string, len(keys))
	for i := range keys {
		out[i] = keys[i].env
	}
	return out
}

// Meaning says what a key is for.
func Meaning(name string) string {
	for i := range keys {
		if keys[i].name == name {
			return keys[i].meaning
		}
	}
	return ""
}

// Secret reports whether a key's value must not be shown.
func Secret(name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return k.name == name && k.secret })
}

// FlagNames returns the flags that set keys.
func FlagNames() []string {
	var out []string
	for i := range keys {
		if keys[i].flag != "" {
			out = append(out, keys[i].flag)
		}
	}
	return out
}

// Get returns a setting's value; of a list all values with commas.
func (c *Config) Get(name string) string { return strings.Join(c.settings[name].Values, ",") }

// List returns a list's values.
func (c *Config) List(name string) []string { return c.settings[name].Values }

// Setting returns a value with its origin.
func (c *Config) Setting(name string) Setting { return c.settings[name] }

// IsDefault reports whether nobody set the key.
func (c *Config) IsDefault(name string) bool { return c.settings[name].Origin == originDefault }

const originDefault = "default"

// Load reads all settings. Getenv is os.Getenv, flags holds the values of the
// flags that were given. All mistakes are reported at once.
func Load(getenv func(string) string, flags map[string][]string) (*Config, error) {
	c := &Config{settings: map[string]Setting{}}
	for _, k := range keys {
		if d := defaultOf(k.name, getenv); len(d) > 0 {
			c.settings[k.name] = Setting{d, originDefault}
		} else {
			c.settings[k.name] = Setting{nil, originDefault}
		}
	}
	var errs []error
	if named := getenv(Env); named != "" {
		errs = append(errs, c.file(named, true))
	} else {
		errs = append(errs, c.file(filepath.Join(xdg(getenv, "XDG_CONFIG_HOME", ".config"), "rhizome", "config.toml"), false))
	}
	c.overlay(getenv, flags)
	if getenv(Env) == "" {
		// Which repo is known only now. Its own file goes before the user's.
		if repo := c.Get("repo"); repo != "" {
			errs = append(errs, c.file(filepath.Join(repo, "config.toml"), false))
		}
		c.overlay(getenv, flags)
	}
	for _, k := range keys {
		s := c.settings[k.name]
		if len(k.choices) > 0 && !slices.Contains(k.choices, c.Get(k.name)) {
			err := api.NewProblem(api.CodeConfig, fmt.Sprintf("%s (%s): %q is not one of %s", k.name, s.Origin, c.Get(k.name),
				strings.Join(k.choices, ", ")), "")
			if strings.HasPrefix(s.Origin, "flag") {
				err.Code = api.CodeUsage
			}
			errs = append(errs, err)
		}
		if k.check == nil {
			continue
		}
		if bad := k.check(c.Get(k.name)); bad != nil {
			err := api.NewProblem(api.CodeConfig, fmt.Sprintf("%s (%s): %v", k.name, s.Origin, bad), "")
			if strings.HasPrefix(s.Origin, "flag") {
				err.Code = api.CodeUsage
			}
			errs = append(errs, err)
		}
	}
	return c, join(errs)
}

// join makes one problem of several.
func join(errs []error) error {
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	var p *api.Problem
	code, hint := api.CodeConfig, "see rhizome config show --origin"
	if errors.As(err, &p) && p.Code == api.CodeUsage {
		code = p.Code
	}
	if p != nil && p.Hint != "" {
		hint = p.Hint
	}
	return api.NewProblem(code, err.Error(), hint)
}

// overlay sets what the environment and the flags say.
func (c *Config) overlay(getenv func(string) string, flags map[string][]string) {
	for _, k := range keys {
		if s := getenv(k.env); s != "" {
			values := []string{s}
			if k.list {
				values = strings.Split(s, ",")
			}
			c.settings[k.name] = Setting{values, "env " + k.env}
		}
		if values, ok := flags[k.flag]; ok && k.flag != "" {
			c.settings[k.name] = Setting{values, "flag --" + k.flag}
		}
	}
}

// file sets what a file says.
func (c *Config) file(name string, must bool) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return api.NewProblem(api.CodeConfig, fmt.Sprintf("read configuration: %v", err), "")
	}
	var got map[string]any
	if err := toml.Unmarshal(text, &got); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			err = fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return api.NewProblem(api.CodeConfig, fmt.Sprintf("%s: %v", name, err), "")
	}
	c.Files = append(c.Files, name)
	var errs []error
	for _, given := range sorted(got) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == given })
		if i < 0 {
			errs = append(errs, api.NewProblem(api.CodeConfig, fmt.Sprintf("%s: unknown key %q", name, given),
				"the keys are "+strings.Join(Names(), ", ")))
			continue
		}
		values, err := valuesOf(&keys[i], got[given])
		if err != nil {
			errs = append(errs, api.NewProblem(api.CodeConfig, fmt.Sprintf("%s: %s: %v", name, given, err), ""))
			continue
		}
		c.settings[given] = Setting{values, "file " + name}
	}
	return errors.Join(errs...)
}

func sorted(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func valuesOf(k *key, x any) ([]string, error) {
	if !k.list {
		s, ok := x.(string)
		if !ok {
			return nil, errors.New("want a string")
		}
		return []string{s}, nil
	}
	in, ok := x.([]any)
	if !ok {
		return nil, errors.New("want an array of strings")
	}
	out := make([]string, len(in))
	for i := range in {
		if out[i], ok = in[i].(string); !ok {
			return nil, errors.New("want an array of strings")
		}
	}
	return out, nil
}

func defaultOf(name string, getenv func(string) string) []string {
	switch name {
	case "repo":
		return []string{filepath.Join(xdg(getenv, "XDG_STATE_HOME", filepath.Join(".local", "state")), "rhizome")}
	case "output":
		return []string{"table"}
	case "log_level":
		return []string{"warn"}
	case "http":
		return []string{server.DefaultAddr}
	case "retention":
		return []string{"window"}
	case "retention_age":
		return []string{"30d"}
	case "retention_bytes":
		return []string{"1GiB"}
	}
	return nil
}

// xdg returns a base directory; a relative one does not count, as its
// specification says.
func xdg(getenv func(string) string, env, below string) string {
	if dir := getenv(env); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(getenv("HOME"), below)
}
