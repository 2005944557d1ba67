package layout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Layout arranges people on the canvas. See the package's documentation for
// what Arrange has to keep to.
type Layout interface {
	// Name is what settings call it: lower case, not empty, without ':'.
	Name() string
	// Arrange places who is to be seen at a moment. It must not keep or change
	// what it is given.
	Arrange(m Moment) []Tile
}

// ErrUnknown is the error for a name that no layout has.
var ErrUnknown = errors.New("unknown layout")

// aliases are names that others use for the same.
var aliases = map[string]string{
	"spotlight": "speaker", "gallery": "grid", "screenshare-side": "screenshare", "screen-share": "screenshare",
}

var registry = struct {
	mu      sync.RWMutex
	layouts map[string]Layout
}{layouts: map[string]Layout{"grid": grid{}, "speaker": speaker{}, "screenshare": screenshare{}, "single": Single{}}}

// Register adds a layout. It panics when the name is empty, has a colon, or is
// taken: that is a mistake in the program, as with database/sql.
func Register(l Layout) {
	name := l.Name()
	registry.mu.Lock()
	defer registry.mu.Unlock()
	_, taken := registry.layouts[name]
	if _, alias := aliases[name]; name == "" || strings.Contains(name, ":") || taken || alias {
		panic(fmt.Sprintf("register layout: the name %q is empty, has a colon, or is taken", name))
	}
	registry.layouts[name] = l
}

// Find gives the layout of a name or alias; "" is grid, and single:USER shows
// the user with that id. An error wraps ErrUnknown and lists the names.
func Find(name string) (Layout, error) {
	if user, ok := strings.CutPrefix(name, "single:"); ok && user != "" {
		return Single{UserID: user}, nil
	}
	if name == "" {
		name = "grid"
	}
	if to, ok := aliases[name]; ok {
		name = to
	}
	registry.mu.RLock()
	l, ok := registry.layouts[name]
	registry.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("%w %q: there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return l, nil
}

// Names are those of all layouts, sorted, without aliases.
func Names() []string {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return slices.Sorted(maps.Keys(registry.layouts))
}
