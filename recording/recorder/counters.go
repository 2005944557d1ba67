package recorder

import "sync/atomic"

// Stats counts since the recorder was made.
type Stats struct {
	// Live sessions are followed now.
	Live int
	// Steps were done, Failed recordings given up, Lost bursts of packets not
	// written, Discarded sessions destroyed because nothing asked for them,
	// Dropped sessions had packets given up, or none begun, for want of room,
	// Stored files put into storage, Deleted ones taken out again.
	Steps, Failed, Lost, Discarded, Dropped, Stored, Deleted int64
	// Streams go to their endpoints now, by StreamConnections since the
	// beginning; of the StreamPackets meant for them StreamLost were dropped, and
	// StreamsFailed were not delivered.
	Streams, StreamConnections, StreamPackets, StreamLost, StreamsFailed int64
	// Handed bytes were put into the store for other machines, Fetched ones came
	// from there.
	Handed, Fetched int64
}

type counters struct {
	steps, failed, lost, discarded, dropped, stored, deleted, handed, fetched atomic.Int64
}

// Stats returns the counts so far.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	n := len(r.sessions)
	r.mu.Unlock()
	c := &r.count
	s := &r.streams
	return Stats{
		n, c.steps.Load(), c.failed.Load(), c.lost.Load(), c.discarded.Load(), c.dropped.Load(), c.stored.Load(), c.deleted.Load(),
		s.Open.Load(), s.Connections.Load(), s.Packets.Load(), s.Lost.Load(), s.Failed.Load(), c.handed.Load(), c.fetched.Load(),
	}
}
