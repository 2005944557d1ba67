package apidoc

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// schema is an object, or another type, as the page shows it.
type schema struct {
	// Name is the component's, or "" for one without.
	Name, Doc string
	// Type is what it is when it is no object with fields.
	Type     typeText
	Fields   []field
	Required bool
}

// field is one property or parameter.
type field struct {
	Name, In, Doc string
	Type          typeText
	Required      bool
	Limits        []string
	Enum          []string
	// Fields are those of an object that has no name of its own.
	Fields []field
}

// typeText is a type in words; Link names the component that it speaks of.
type typeText struct{ Before, Link, Plain, After string }

func schemaOf(name string, ref *openapi3.SchemaRef) schema {
	if ref == nil || ref.Value == nil {
		return schema{Name: name}
	}
	if name == "" {
		name = component(ref)
	}
	s := schema{Name: name, Doc: ref.Value.Description, Fields: fieldsOf(ref.Value)}
	if len(s.Fields) == 0 {
		s.Type = typeOf(&openapi3.SchemaRef{Value: ref.Value})
	}
	return s
}

// component is the name of the component that the reference points at, "" if
// it stands in its place itself.
func component(ref *openapi3.SchemaRef) string {
	if ref.Ref == "" {
		return ""
	}
	return path.Base(ref.Ref)
}

// fieldsOf lists the properties: the required ones first, both in order.
func fieldsOf(s *openapi3.Schema) []field {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		out = append(out, fieldOf(name, s.Properties[name], slices.Contains(s.Required, name)))
	}
	slices.SortStableFunc(out, func(a, b field) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	return out
}

func fieldOf(name string, ref *openapi3.SchemaRef, required bool) field {
	s := ref.Value
	f := field{Name: name, Required: required, Type: typeOf(ref), Doc: s.Description, Limits: limitsOf(s)}
	if component(ref) != "" && len(s.Properties) > 0 {
		f.Doc = "" // the component says it
	}
	for _, v := range s.Enum {
		if v != "" {
			f.Enum = append(f.Enum, fmt.Sprint(v))
		}
	}
	if component(ref) == "" {
		f.Fields = fieldsOf(s)
		if s.Items != nil && component(s.Items) == "" {
			f.Fields = fieldsOf(s.Items.Value)
		}
	}
	return f
}

// typeOf says what the values are. Components that are objects are linked;
// those that only name a kind of text are described where they are used.
func typeOf(ref *openapi3.SchemaRef) typeText {
	s := ref.Value
	var t typeText
	switch {
	case component(ref) != "" && s.Type.Is("object"):
		t = typeText{Link: component(ref)}
	case len(s.AllOf) == 1:
		t = typeOf(s.AllOf[0])
	case s.Type.Is("array") && s.Items != nil:
		t = typeOf(s.Items)
		t.Before = "list of " + t.Before
	case s.Type.Is("object") && s.AdditionalProperties.Schema != nil:
		t = typeOf(s.AdditionalProperties.Schema)
		t.Before = "map of " + t.Before
	case s.Type.Is("object"):
		t = typeText{Plain: "object"}
	case s.Format == "date-time":
		t = typeText{Plain: "time (RFC 3339)"}
	default:
		t = typeText{Plain: strings.Join(s.Type.Slice(), " or ")}
	}
	if s.Nullable {
		t.After += " or null"
	}
	return t
}

func limitsOf(s *openapi3.Schema) []string {
	var out []string
	add := func(unit string, low, high *float64) {
		switch {
		case low != nil && high != nil:
			out = append(out, fmt.Sprintf("%g to %g%s", *low, *high, unit))
		case low != nil:
			out = append(out, fmt.Sprintf("at least %g%s", *low, unit))
		case high != nil:
			out = append(out, fmt.Sprintf("at most %g%s", *high, unit))
		}
	}
	add("", s.Min, s.Max)
	add(" characters", some(s.MinLength), number(s.MaxLength))
	add(" entries", some(s.MinItems), number(s.MaxItems))
	add(" names", some(s.MinProps), number(s.MaxProps))
	if s.Pattern != "" {
		out = append(out, "matches "+s.Pattern)
	}
	return out
}

// some is n as a bound, nil for none.
func some(n uint64) *float64 {
	if n == 0 {
		return nil
	}
	return number(&n)
}

func number(n *uint64) *float64 {
	if n == nil {
		return nil
	}
	f := float64(*n)
	return &f
}
