package call

import "sync"

// Disconnect ends every connection of a user in a call, or in every call when
// cid is empty: what they publish and what they watch. It returns how many
// there were, when no media of theirs is accepted or forwarded any more.
// Someone who is joining at this moment is refused.
func (r *Registry) Disconnect(cid, userID, reason string) int {
	return r.end(func(s *Seat) bool {
		return s.req.UserID == userID && (cid == "" || s.cid == cid)
	}, reason)
}

// EndCall ends every connection of a call. It returns how many there were,
// when all media has stopped.
func (r *Registry) EndCall(cid, reason string) int {
	n := r.end(func(s *Seat) bool { return s.cid == cid }, reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[cid]; s != nil && len(s.in) == 0 {
		r.endSessionLocked(s)
	}
	return n
}

func (r *Registry) end(match func(*Seat) bool, reason string) int {
	r.mu.Lock()
	var conns []Conn
	for s := range r.seats {
		if !match(s) {
			continue
		}
		s.revoked = true
		for _, t := range s.tracks {
			t.cut()
		}
		if s.conn != nil {
			conns = append(conns, s.conn)
		}
	}
	r.mu.Unlock()
	for _, c := range conns {
		c.Cut()
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { c.End(reason) })
	}
	wg.Wait()
	return len(conns)
}
