package node

import "github.com/rhizome-p2p/rhizome/merge"

// View returns the state between calls, for reading.
func (r *Replica) View() merge.View { return &r.state.rows }
