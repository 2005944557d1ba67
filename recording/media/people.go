package media

import (
	"time"

	"stillwatch/recording/raw"
)

// Mixer tells whether the person stands for the sound of all, as a mixer
// recorded it.
func (p Person) Mixer() bool { return p.Role == raw.RoleMixer }

// people lists the connections of the journal.
func people(entries []raw.Entry, length time.Duration) []Person {
	var all []Person
	here := map[string]int{}
	for _, e := range entries {
		switch e.Kind {
		case raw.Joined:
			if i, ok := here[e.UserSessionID]; ok {
				all[i].Leave = e.At
			}
			here[e.UserSessionID] = len(all)
			all = append(all, Person{
				UserID: e.UserID, UserSessionID: e.UserSessionID, Name: e.Name, Role: e.Role,
				Join: e.At, Leave: max(length, e.At),
			})
		case raw.Left:
			if i, ok := here[e.UserSessionID]; ok {
				all[i].Leave = e.At
				delete(here, e.UserSessionID)
			}
		}
	}
	return all
}

// personOf finds whose stream it is: of the user's connection with this id the
// last that had come when the stream began. Somebody of whom the journal says
// nothing is added.
func (s *Session) personOf(info raw.StreamInfo) int {
	found := -1
	for i, p := range s.people {
		if p.UserSessionID == info.UserSessionID && (found < 0 || p.Join <= info.At) {
			found = i
		}
	}
	if found < 0 {
		found = len(s.people)
		s.people = append(s.people, Person{
			UserID: info.UserID, UserSessionID: info.UserSessionID, Join: info.At, Leave: max(s.length, info.At),
		})
	}
	return found
}

// mutes lists when each track was muted.
func mutes(entries []raw.Entry, length time.Duration) map[string][]Span {
	all := map[string][]Span{}
	open := map[string]time.Duration{}
	end := func(id string, at time.Duration) {
		if from, ok := open[id]; ok && at > from {
			all[id] = append(all[id], Span{from, at})
		}
		delete(open, id)
	}
	for _, e := range entries {
		switch e.Kind {
		case raw.Muted:
			if _, ok := open[e.TrackID]; !ok {
				open[e.TrackID] = e.At
			}
		case raw.Unmuted:
			end(e.TrackID, e.At)
		}
	}
	for id := range open {
		end(id, length)
	}
	return all
}
