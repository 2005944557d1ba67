package blob

import "strings"

// Opens returns the key of the object that an address made by SignGet gives to
// its bearer now: for who would rather read the object than ask for it.
func (s *Store) Opens(rawURL string) (key string, ok bool) {
	target, ok := strings.CutPrefix(rawURL, s.signer.publicURL)
	if !ok {
		return "", false
	}
	path, query, _ := strings.Cut(target, "?")
	return s.signer.verify(path, query, s.now())
}
