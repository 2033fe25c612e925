package rhizome

import (
	"context"
	"runtime"

	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/plugin"
)

// plugins compiles the resolvers that the log carries.
type plugins struct{ runtime *plugin.Runtime }

func newPlugins() plugins { return plugins{plugin.NewRuntime(plugin.Limits{})} }

// CEL implements catalog.Compiler.
func (plugins) CEL(expression string) (merge.Resolver, error) {
	return plugin.CompileCEL(expression, plugin.Limits{})
}

// WASM implements catalog.Compiler.
func (p plugins) WASM(module []byte) (merge.Resolver, error) {
	m, err := p.runtime.Compile(context.Background(), module)
	if err != nil {
		return nil, err
	}
	// A read may still go by a catalog that another has taken the place of: the
	// module is let go of when nothing refers to it any more.
	runtime.SetFinalizer(m, func(m *plugin.Module) { _ = m.Close() }) // it only gives back a place in the cache
	return m, nil
}
