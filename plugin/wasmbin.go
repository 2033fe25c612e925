package plugin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The sections of a module.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
)

// wasmHeader is the magic number and the version of every module.
const wasmHeader = "\x00asm\x01\x00\x00\x00"

// errTruncated reports a module that ends in the middle of something.
var errTruncated = errors.New("truncated or malformed")

// A cursor reads a module's bytes.
type cursor struct {
	b   []byte
	err error
}

// fail keeps the first error.
func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// u32 reads an unsigned LEB128 number.
func (c *cursor) u32() uint32 {
	n, size := binary.Uvarint(c.b)
	if c.err != nil || size <= 0 || size > 5 || n > 1<<32-1 {
		c.fail(errTruncated)
		return 0
	}
	c.b = c.b[size:]
	return uint32(n)
}

// signed skips a signed LEB128 number of at most so many bytes.
func (c *cursor) signed(most int) {
	for range most {
		if c.byte()&0x80 == 0 {
			return
		}
	}
	c.fail(errTruncated)
}

func (c *cursor) byte() byte {
	if c.err != nil || len(c.b) == 0 {
		c.fail(errTruncated)
		return 0
	}
	b := c.b[0]
	c.b = c.b[1:]
	return b
}

func (c *cursor) bytes(n uint32) []byte {
	if c.err != nil || uint64(n) > uint64(len(c.b)) {
		c.fail(errTruncated)
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// count reads the length of a vector.
func (c *cursor) count(what string, most uint32) uint32 {
	n := c.u32()
	if n > most {
		c.fail(fmt.Errorf("%d %s, at most %d are allowed", n, what, most))
		return 0
	}
	return n
}

// A raw is one section as it stands in a module.
type raw struct {
	id   byte
	body []byte
}

// split returns the sections of a module but the custom ones.
func split(module []byte) (sections []raw, err error) {
	if len(module) > MaxModuleBytes {
		return nil, fmt.Errorf("module of %d bytes, at most %d are allowed", len(module), MaxModuleBytes)
	}
	body, ok := bytes.CutPrefix(module, []byte(wasmHeader))
	if !ok {
		return nil, errors.New("not a WebAssembly module of version 1")
	}
	c := &cursor{b: body}
	for len(c.b) > 0 && c.err == nil {
		if s := (raw{c.byte(), c.bytes(c.u32())}); s.id != sectionCustom {
			sections = append(sections, s)
		}
	}
	return sections, c.err
}

// prepare checks that a module stays within the limits that keep its compilation
// and instantiation cheap, and returns it as it is compiled: without custom
// sections, and so that it counts its instructions (wasmcode.go). Whether it is
// valid is for the library to say.
func prepare(module []byte, maxPages uint32, most uint64) ([]byte, error) {
	sections, err := split(module)
	if err != nil {
		return nil, err
	}
	m := &meter{most: most, start: -1}
	at := len(sections) // where a section of globals belongs
	for i := len(sections) - 1; i >= 0; i-- {
		switch s := sections[i]; {
		case s.id == sectionStart:
			c := &cursor{b: s.body}
			m.start = int64(c.u32())
			sections = slices.Delete(sections, i, i+1)
			at = i
		case s.id == sectionGlobal:
			at = -1
		case s.id > sectionGlobal && at >= 0:
			at = i
		}
	}
	if at >= 0 {
		sections = slices.Insert(sections, at, raw{sectionGlobal, []byte{0}})
	}
	out := []byte(wasmHeader)
	for _, s := range sections {
		body, err := m.section(s, maxPages)
		if err != nil {
			return nil, err
		}
		out = append(out, s.id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	return out, nil
}

// section checks a section, and returns it as it is compiled.
func (m *meter) section(s raw, maxPages uint32) ([]byte, error) {
	c := &cursor{b: s.body}
	switch s.id {
	case sectionType:
		m.readTypes(c)
	case sectionImport:
		checkImports(c)
	case sectionFunction:
		m.readFunctions(c)
	case sectionTable:
		checkTables(c)
	case sectionMemory:
		checkMemory(c, maxPages)
	case sectionGlobal:
		return m.addGlobal(c)
	case sectionExport:
		return m.addExports(c)
	case sectionElement:
		c.count("element segments", maxSegments)
		if len(s.body) > maxElementBytes {
			c.fail(fmt.Errorf("%d bytes of element segments, at most %d are allowed", len(s.body), maxElementBytes))
		}
	case sectionCode:
		return m.rewriteCode(c)
	case sectionData:
		c.count("data segments", maxSegments)
	case sectionDataCount:
	default:
		return nil, fmt.Errorf("section %d is not known", s.id)
	}
	return s.body, c.err
}

// readTypes notes how many parameters each type has. It bounds what one block or
// call moves on the stack, however few bytes it takes to write it.
func (m *meter) readTypes(c *cursor) {
	for range c.count("types", maxTypes) {
		if c.byte() != 0x60 {
			c.fail(errors.New("a type is not that of a function"))
		}
		params := c.count("parameters of a function", maxArity)
		c.bytes(params)
		c.bytes(c.count("results of a function", maxArity))
		if c.err != nil {
			return
		}
		m.params = append(m.params, params)
	}
}

// readFunctions notes the type of each function.
func (m *meter) readFunctions(c *cursor) {
	for range c.count("functions", maxFunctions) {
		t := c.u32()
		if t >= uint32(len(m.params)) {
			c.fail(errTruncated)
			return
		}
		m.functions = append(m.functions, t)
	}
}

func checkImports(c *cursor) {
	if n := c.u32(); n == 0 {
		return
	}
	from := c.bytes(c.u32())
	name := c.bytes(c.u32())
	c.fail(fmt.Errorf("it imports %.80q from %.80q: a resolver has no host to import from", name, from))
}

// checkTables asks that tables have a maximum. A table may grow at run time and
// is no part of the memory that is capped.
func checkTables(c *cursor) {
	for range c.count("tables", maxTables) {
		c.byte()
		bounded := c.byte() == 1
		least := c.u32()
		most := least
		if bounded {
			most = c.u32()
		}
		if !bounded || least > maxTableEntries || most > maxTableEntries {
			c.fail(fmt.Errorf("a table must have a maximum of at most %d entries", maxTableEntries))
		}
	}
}

func checkMemory(c *cursor, maxPages uint32) {
	if n := c.u32(); n != 1 {
		c.fail(fmt.Errorf("%d memories, one is needed", n))
	}
	if flags := c.byte(); flags > 1 {
		c.fail(errors.New("a shared or 64-bit memory"))
	}
	if least := c.u32(); least > maxPages {
		c.fail(fmt.Errorf("a memory of at least %d pages, at most %d are allowed", least, maxPages))
	}
}
