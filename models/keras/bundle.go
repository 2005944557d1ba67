package keras

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep a literal may nest. A layers model needs 12.
const maxDepth = 64

// ErrBundle says that a bundle is not what a model's bundler writes.
var ErrBundle = errors.New("bad script bundle")

// Literal finds the one object or string that a browserified bundle exports
// and gives it as JSON. Nothing of the script runs: only literals are read
// (objects, arrays, strings, numbers, !0, !1, null), all else is an error.
func Literal(bundle []byte) ([]byte, error) {
	start := exported(bundle)
	if start < 0 {
		return nil, fmt.Errorf("%w: exports no literal", ErrBundle)
	}
	p := &literalParser{src: bundle[start:]}
	p.out.Grow(len(p.src) + len(p.src)/8)
	if err := p.value(0); err != nil {
		return nil, fmt.Errorf("%w: at byte %d: %w", ErrBundle, start+p.pos, err)
	}
	return p.out.Bytes(), nil
}

// exported finds where the exported literal begins, or -1. The loader's own
// "module.exports=e()", which comes first, is passed over.
func exported(bundle []byte) int {
	const export = ".exports="
	for at := 0; ; {
		i := bytes.Index(bundle[at:], []byte(export))
		if i < 0 {
			return -1
		}
		at += i + len(export)
		if at < len(bundle) && (bundle[at] == '{' || bundle[at] == '"') {
			return at
		}
	}
}

// literalParser copies a minified JavaScript literal to JSON.
type literalParser struct {
	src []byte
	pos int
	out bytes.Buffer
}

func (p *literalParser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *literalParser) word(w string) bool {
	if bytes.HasPrefix(p.src[p.pos:], []byte(w)) {
		p.pos += len(w)
		return true
	}
	return false
}

func (p *literalParser) value(depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	switch c := p.peek(); {
	case c == '{':
		return p.list('}', func() error { return p.member(depth) })
	case c == '[':
		return p.list(']', func() error { return p.value(depth + 1) })
	case c == '"' || c == '\'':
		return p.str()
	case p.word("!0"):
		p.out.WriteString("true")
	case p.word("!1"):
		p.out.WriteString("false")
	case p.word("null"):
		p.out.WriteString("null")
	default:
		return p.number()
	}
	return nil
}

// list reads an object or array, whose opening byte is next; item reads one
// member.
func (p *literalParser) list(end byte, item func() error) error {
	p.out.WriteByte(p.src[p.pos])
	p.pos++
	if p.peek() == end {
		p.pos++
		p.out.WriteByte(end)
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		c := p.peek()
		if c != ',' && c != end {
			return fmt.Errorf("want , or %c", end)
		}
		p.pos++
		p.out.WriteByte(c)
		if c == end {
			return nil
		}
	}
}

func (p *literalParser) member(depth int) error {
	if err := p.key(); err != nil {
		return err
	}
	if p.peek() != ':' {
		return errors.New("want a colon")
	}
	p.pos++
	p.out.WriteByte(':')
	return p.value(depth + 1)
}

func (p *literalParser) key() error {
	if c := p.peek(); c == '"' || c == '\'' {
		return p.str()
	}
	start := p.pos
	for p.pos < len(p.src) && isWord(p.src[p.pos]) {
		p.pos++
	}
	if start == p.pos {
		return errors.New("want a key")
	}
	p.out.WriteByte('"')
	p.out.Write(p.src[start:p.pos])
	p.out.WriteByte('"')
	return nil
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// str copies a string. Names and base64 need no escapes: one is an error.
func (p *literalParser) str() error {
	quote := p.src[p.pos]
	p.pos++
	n := bytes.IndexByte(p.src[p.pos:], quote)
	if n < 0 {
		return errors.New("string without an end")
	}
	s := p.src[p.pos : p.pos+n]
	for _, c := range s {
		if c < ' ' || c == '\\' || c == '"' {
			return errors.New("string with an escape or control character")
		}
	}
	if !utf8.Valid(s) {
		return errors.New("string is not UTF-8")
	}
	p.pos += n + 1
	p.out.WriteByte('"')
	p.out.Write(s)
	p.out.WriteByte('"')
	return nil
}

// number copies a number; a minifier writes .5 where JSON wants 0.5.
func (p *literalParser) number() error {
	start := p.pos
	for p.pos < len(p.src) && p.pos-start < 32 && bytes.IndexByte([]byte("0123456789.eE+-"), p.src[p.pos]) >= 0 {
		p.pos++
	}
	v, err := strconv.ParseFloat(string(p.src[start:p.pos]), 64)
	if err != nil {
		return errors.New("want a literal value")
	}
	p.out.Write(strconv.AppendFloat(nil, v, 'g', -1, 64))
	return nil
}
