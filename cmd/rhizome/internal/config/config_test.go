package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/api"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Each source goes before the next, key by key.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	user, repo := filepath.Join(dir, "config", "rhizome", "config.toml"), filepath.Join(dir, "repo", "config.toml")
	vars := map[string]string{"XDG_CONFIG_HOME": filepath.Join(dir, "config"), "HOME": dir}
	flags := map[string][]string{}
	check := func(key, value, origin string) {
		t.Helper()
		c, err := Load(env(vars), flags)
		if err != nil {
			t.Fatal(err)
		}
		if c.Get(key) != value || c.Setting(key).Origin != origin || c.IsDefault(key) != (origin == "default") {
			t.Errorf("%s is %q by %s, want %q by %s", key, c.Get(key), c.Setting(key).Origin, value, origin)
		}
	}
	check("repo", filepath.Join(dir, ".local", "state", "rhizome"), "default")
	vars["XDG_STATE_HOME"] = "relative"
	check("repo", filepath.Join(dir, ".local", "state", "rhizome"), "default")
	check("http", "127.0.0.1:7171", "default")
	check("listen", "", "default")
	write(t, user, `repo = "`+filepath.Dir(repo)+`"`+"\nlisten = [\"/a\", \"/b\"]\nhttp = \"x:1\"\n")
	check("http", "x:1", "file "+user)
	check("listen", "/a,/b", "file "+user)
	write(t, repo, `http = "x:2"`)
	check("http", "x:2", "file "+repo)
	check("repo", filepath.Dir(repo), "file "+user)
	vars["RHIZOME_HTTP"], vars["RHIZOME_LISTEN"] = "x:3", "/c,/d"
	check("http", "x:3", "env RHIZOME_HTTP")
	check("listen", "/c,/d", "env RHIZOME_LISTEN")
	flags["http"], flags["listen"] = []string{"x:4"}, []string{"/e", "/f"}
	check("http", "x:4", "flag --http")
	check("listen", "/e,/f", "flag --listen")
	vars[Env] = filepath.Join(dir, "own.toml")
	write(t, vars[Env], `space = "own"`)
	check("space", "own", "file "+vars[Env])
	check("repo", filepath.Join(dir, ".local", "state", "rhizome"), "default")
	c, err := Load(env(vars), flags)
	if err != nil || len(c.Files) != 1 || len(c.List("listen")) != 2 {
		t.Errorf("%+v %v", c, err)
	}
}

// All mistakes are told at once, with where they stand, and as whose they are.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.toml")
	for _, c := range []struct {
		text, output, flag string
		code               api.Code
		say                []string
	}{
		{"colour = 1\nzebra = 2", "", "", api.CodeConfig, []string{file, `"colour"`, `"zebra"`}},
		{"[output]\nx = 1", "", "", api.CodeConfig, []string{"output: want a string"}},
		{"listen = \"x\"\nbootstrap = [1]", "", "", api.CodeConfig, []string{"listen: want an array", "bootstrap: want an array"}},
		{"x", "", "", api.CodeConfig, []string{"line 1, column"}},
		{"output = \"yaml\"\nlog_level = \"loud\"", "", "", api.CodeConfig, []string{`"yaml"`, `"loud"`, "debug, info"}},
		{"", "yaml", "", api.CodeConfig, []string{"env RHIZOME_OUTPUT"}},
		{"", "", "yaml", api.CodeUsage, []string{"flag --output"}},
	} {
		write(t, file, c.text)
		flags := map[string][]string{}
		if c.flag != "" {
			flags["output"] = []string{c.flag}
		}
		_, err := Load(env(map[string]string{"HOME": dir, Env: file, "RHIZOME_OUTPUT": c.output}), flags)
		var p *api.Problem
		if !errors.As(err, &p) || p.Code != c.code || p.Hint == "" {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for _, s := range c.say {
			if !strings.Contains(p.Detail, s) {
				t.Errorf("%s: no %s in %s", c.text, s, p.Detail)
			}
		}
	}
	if _, err := Load(env(map[string]string{Env: filepath.Join(dir, "none")}), nil); err == nil {
		t.Error("a named file that is not there was passed over")
	}
}

// Every key has a variable and a meaning; the secret ones are known as such.
func TestKeys(t *testing.T) {
	if len(Names()) != len(Variables()) {
		t.Error(Names(), Variables())
	}
	for _, k := range Names() {
		if Meaning(k) == "" {
			t.Errorf("%s means nothing", k)
		}
	}
	if !Secret("token") || !Secret("join") || Secret("repo") || Meaning("else") != "" {
		t.Error("secrets")
	}
}
