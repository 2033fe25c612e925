//go:build !linux

package meter

import "errors"

// sampleSockets needs what only Linux tells of a socket.
func sampleSockets(map[string]Traffic) error {
	return errors.ErrUnsupported
}
