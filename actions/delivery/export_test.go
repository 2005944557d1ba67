package delivery

import (
	"context"
	"time"
)

// What tests outside of the package need to see.
const ClaimSlack = claimSlack

// Schedule is the schedule.
var Schedule = schedule

// Lanes is how many hooks are served.
func (s *Sender) Lanes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lanes)
}

// Claim claims what is due of a hook with a timeout of two seconds, as a
// process does that then dies.
func (s *Sender) Claim(ctx context.Context, hookID string) (int, error) {
	rows, err := s.claim(ctx, Hook{ID: hookID, Timeout: 2 * time.Second}, s.cfg.Now(), 10, func(string) bool { return false })
	return len(rows), err
}

// Idle tells whether no delivery is under way.
func (s *Sender) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.mu.Lock()
		n := len(l.flying)
		l.mu.Unlock()
		if n > 0 {
			return false
		}
	}
	return true
}
