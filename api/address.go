package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// AddressFile is the file of a repo in which a running node writes where its
// API listens and with which token. It tells how to reach a node, never
// whether one runs: that is what the repo's lock tells.
const AddressFile = "api.json"

// An Address is what the address file holds.
type Address struct {
	Addr  string `json:"addr"` // host:port
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

// WriteAddress writes the address file, readable to its owner alone and never
// seen half written.
func WriteAddress(dir string, a Address) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, AddressFile+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", AddressFile, err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, AddressFile))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", AddressFile, err), os.Remove(f.Name()))
	}
	return nil
}

// ReadAddress reads the address file. It matches fs.ErrNotExist where there
// is none.
func ReadAddress(dir string) (a Address, err error) {
	text, err := os.ReadFile(filepath.Join(dir, AddressFile))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("read %s: %w", AddressFile, err)
	}
	return a, nil
}

// RemoveAddress removes the address file if it is still that of a.
func RemoveAddress(dir string, a Address) error {
	if b, err := ReadAddress(dir); err != nil || b != a {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, AddressFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
