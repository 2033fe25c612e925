package feed

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// texts reads a feed to its end: line and text of each, or what is wrong.
func texts(in string) (out []string, err error) {
	r := NewReader(iotest.OneByteReader(strings.NewReader(in)))
	for {
		line, text, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			if r.Bytes() != uint64(len(in)) {
				err = fmt.Errorf("took %d bytes of %d", r.Bytes(), len(in))
				return out, err
			}
			return out, nil
		case errors.As(err, new(*ShapeError)):
			text = []byte(err.Error())
		case err != nil:
			return out, err
		}
		out = append(out, fmt.Sprint(line, " ", string(text)))
	}
}

// Lines and elements of an array come one by one, each with the line that it
// begins on; what is wrong with one leaves the others alone.
func TestReader(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", maxTextBytes) + `"}`
	tooLong := fmt.Sprintf("longer than %d bytes", maxTextBytes)
	for _, tt := range []struct {
		in   string
		want []string
		fail bool
	}{
		{"", nil, false},
		{" \n\r\n ", nil, false},
		{"{}\n\n {} \r\n{", []string{"1 {}", "3 {}", "4 {"}, false},
		{"\n\n{}\n", []string{"3 {}"}, false},
		{"{}\n" + long + "\n{}", []string{"1 {}", "2 " + tooLong, "3 {}"}, false},
		{"[]", nil, false},
		{" [ \n ] \n", nil, false},
		{"[{},{\n\"a\":[1,\"]\\\"},\"]}\n,\n{}]", []string{"1 {}", "1 {\n\"a\":[1,\"]\\\"},\"]}", "4 {}"}, false},
		{"[" + long + ",\n{}]", []string{"1 " + tooLong, "2 {}"}, false},
		{"[{},]", []string{"1 {}", "1 "}, false},
		{"[,{}]", []string{"1 ", "1 {}"}, false},
		{"[}]", []string{"1 }"}, false},
		{"[{},{", []string{"1 {}"}, true},
		{"[{}", nil, true},
		{"[{}]\n{}", []string{"1 {}"}, true},
	} {
		got, err := texts(tt.in)
		if !slices.Equal(got, tt.want) || (err != nil) != tt.fail || tt.fail && !errors.Is(err, ErrForm) {
			t.Errorf("%.40q: %.80q, %v", tt.in, got, err)
		}
	}
}

// An error of reading is not taken for the end.
func TestReaderErrors(t *testing.T) {
	for _, in := range []string{"", "{}\n{", "[{}", "[{}]"} {
		r := NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(errTest)))
		var err error
		for n := 0; err == nil && n < 9; n++ {
			_, _, err = r.Next()
		}
		if !errors.Is(err, errTest) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
