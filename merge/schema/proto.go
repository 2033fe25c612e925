package schema

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/options"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/apipb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/sourcecontextpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/typepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A protoFile is the compiled text of a .proto file.
type protoFile struct {
	file protoreflect.FileDescriptor
	// types are the messages of this text and the well-known ones: the only
	// ones that a google.protobuf.Any may hold, whatever else the program has.
	types *dynamicpb.Types
}

const protoName = "schema.proto"

// wellKnown are the files that a text may import.
func wellKnown(name string) protoreflect.FileDescriptor {
	for _, f := range []protoreflect.FileDescriptor{
		anypb.File_google_protobuf_any_proto,
		apipb.File_google_protobuf_api_proto,
		descriptorpb.File_google_protobuf_descriptor_proto,
		durationpb.File_google_protobuf_duration_proto,
		emptypb.File_google_protobuf_empty_proto,
		fieldmaskpb.File_google_protobuf_field_mask_proto,
		sourcecontextpb.File_google_protobuf_source_context_proto,
		structpb.File_google_protobuf_struct_proto,
		timestamppb.File_google_protobuf_timestamp_proto,
		typepb.File_google_protobuf_type_proto,
		wrapperspb.File_google_protobuf_wrappers_proto,
	} {
		if f.Path() == name {
			return f
		}
	}
	return nil
}

// compileProto compiles the text of a .proto file. The error joins what the
// compiler found.
func compileProto(text string) (*protoFile, error) {
	if len(text) > MaxProtoBytes {
		return nil, fmt.Errorf("text of %d bytes, at most %d are allowed", len(text), MaxProtoBytes)
	}
	if deep(text) {
		return nil, fmt.Errorf("brackets are nested deeper than %d", MaxProtoDepth)
	}
	var found []error
	h := reporter.NewHandler(reporter.NewReporter(func(err reporter.ErrorWithPos) error {
		if len(found) < MaxMistakes {
			found = append(found, errors.New(strings.TrimPrefix(err.Error(), protoName+":")))
		}
		return nil
	}, nil))
	linked, err := link(text, h)
	if len(found) > 0 {
		return nil, errors.Join(found...)
	}
	if err != nil {
		return nil, err
	}
	files := &protoregistry.Files{}
	if err := registerAll(files, linked); err != nil {
		return nil, err
	}
	return &protoFile{file: linked, types: dynamicpb.NewTypes(files)}, nil
}

// deep reports whether brackets nest deeper than the compiler is asked to go.
// Those in strings and comments count too.
func deep(text string) bool {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{', '[', '<', '(':
			depth++
		case '}', ']', '>', ')':
			depth = max(depth-1, 0)
		}
		if depth > MaxProtoDepth {
			return true
		}
	}
	return false
}

func link(text string, h *reporter.Handler) (linker.Result, error) {
	tree, err := parser.Parse(protoName, strings.NewReader(text), h)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.ResultFromAST(tree, true, h)
	if err != nil {
		return nil, err
	}
	var deps linker.Files
	for _, name := range parsed.FileDescriptorProto().GetDependency() {
		f := wellKnown(name)
		if f == nil {
			return nil, fmt.Errorf("import %q: only the well-known google/protobuf files can be imported", name)
		}
		dep, err := linker.NewFileRecursive(f)
		if err != nil {
			return nil, err
		}
		deps = append(deps, dep)
	}
	symbols := &linker.Symbols{}
	linked, err := linker.Link(parsed, deps, symbols, h)
	if err != nil {
		return nil, err
	}
	if _, err := options.InterpretOptions(linked, h); err != nil {
		return nil, err
	}
	if err := linked.ValidateOptions(h, symbols); err != nil {
		return nil, err
	}
	return linked, h.Error()
}

// registerAll registers a file after those that it imports.
func registerAll(to *protoregistry.Files, f protoreflect.FileDescriptor) error {
	imports := f.Imports()
	for i := range imports.Len() {
		dep := imports.Get(i).FileDescriptor
		if _, err := to.FindFileByPath(dep.Path()); err == nil {
			continue
		}
		if err := registerAll(to, dep); err != nil {
			return err
		}
	}
	return to.RegisterFile(f)
}

// message finds a message by its name, with or without the package; nil where
// there is none.
func (f *protoFile) message(name string) protoreflect.MessageDescriptor {
	name = strings.TrimPrefix(name, ".")
	if pkg := string(f.file.Package()); pkg != "" {
		name = strings.TrimPrefix(name, pkg+".")
	}
	var found protoreflect.MessageDescriptor
	at := f.file.Messages()
	for part := range strings.SplitSeq(name, ".") {
		if found = at.ByName(protoreflect.Name(part)); found == nil {
			return nil
		}
		at = found.Messages()
	}
	return found
}

// protoPlace is where the library of protobuf says that a fault is, in a text
// that nobody saw; protoPrefix is what it begins with, with a space of either
// kind.
var (
	protoPlace  = regexp.MustCompile(`\(line \d+:\d+\): `)
	protoPrefix = regexp.MustCompile("proto:[ \u00a0]")
)

// check says what is wrong with a value as a message, if anything.
func (f *protoFile) check(d protoreflect.MessageDescriptor, v any) *fault {
	msg := dynamicpb.NewMessage(d)
	var err error
	if b, ok := v.([]byte); ok {
		err = proto.UnmarshalOptions{Resolver: f.types}.Unmarshal(b, msg)
	} else {
		err = protojson.UnmarshalOptions{Resolver: f.types}.Unmarshal(delta.AppendAnyJSON(nil, v), msg)
	}
	if err == nil {
		return nil
	}
	text := protoPrefix.ReplaceAllString(protoPlace.ReplaceAllString(err.Error(), ""), "")
	return &fault{"", fmt.Sprintf("is no %s: %s", d.FullName(), text)}
}

// messages returns a message and all that it is made of, by name.
func messages(d protoreflect.MessageDescriptor) []protoreflect.MessageDescriptor {
	seen := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	queue := []protoreflect.MessageDescriptor{d}
	for len(queue) > 0 {
		d := queue[0]
		queue = queue[1:]
		if _, ok := seen[d.FullName()]; ok {
			continue
		}
		seen[d.FullName()] = d
		fields := d.Fields()
		for i := range fields.Len() {
			if m := fields.Get(i).Message(); m != nil {
				queue = append(queue, m)
			}
		}
	}
	out := make([]protoreflect.MessageDescriptor, 0, len(seen))
	for _, d := range seen {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b protoreflect.MessageDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return out
}
