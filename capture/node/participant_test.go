package node

import (
	"slices"
	"testing"
	"time"

	"stillwatch/capture/call"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// told returns the bodies of the public events of a type, in order.
func told[T any](t *testing.T, r *rig, typ string) []T {
	t.Helper()
	var rows []db.OutboxRow
	if err := r.db.NewSelect().Model(&rows).Where("topic = ?", event.TopicPublic).Order("seq").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out []T
	for _, row := range rows {
		if row.Envelope.V.Type == typ {
			var body T
			if err := row.Envelope.V.Decode(&body); err != nil {
				t.Fatal(err)
			}
			out = append(out, body)
		}
	}
	return out
}

func joined(user, role string, at time.Time) call.Participant {
	return call.Participant{Session: session(), UserID: user, Role: role, UserSessionID: "us-" + user, JoinedAt: at}
}

func TestComingAndGoingIsCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	at := testkit.NewClock().Now()
	ann, bob := joined("ann", "host", at), joined("bob", "user", at.Add(time.Second))
	r.node.SessionStarted(session())
	r.node.ParticipantJoined(ann)
	r.node.ParticipantJoined(bob)
	r.node.ParticipantJoined(bob) // twice is once
	ann.LeftAt = at.Add(90*time.Second + 400*time.Millisecond)
	r.node.ParticipantLeft(ann, "left")
	r.node.ParticipantLeft(ann, "left")
	testkit.Eventually(t, 20*time.Second, func() bool { return len(told[event.ParticipantLeft](t, r, event.CallParticipantLeft)) == 1 })
	// What was queued before this is written before it.
	bob.LeftAt = at.Add(2 * time.Minute)
	r.node.ParticipantLeft(bob, "kicked")
	testkit.Eventually(t, 20*time.Second, func() bool { return len(told[event.ParticipantLeft](t, r, event.CallParticipantLeft)) == 2 })

	in := told[event.ParticipantJoined](t, r, event.CallParticipantJoined)
	if len(in) != 2 || in[0].Participant.User.ID != "ann" || !in[0].Participant.User.Online || in[1].Participant.UserSessionID != "us-bob" ||
		in[0].SessionID != "s1" || in[0].Participant.Role != "host" || !in[1].Participant.JoinedAt.Equal(bob.JoinedAt) {
		t.Errorf("joined: %+v", in)
	}
	left := told[event.ParticipantLeft](t, r, event.CallParticipantLeft)
	if left[0].DurationSeconds != 90 || left[0].Reason != "left" || left[0].Participant.User.Online || left[1].DurationSeconds != 119 || left[1].Reason != "kicked" {
		t.Errorf("left: %+v", left)
	}
	var counts []map[string]int
	for _, c := range told[event.ParticipantCount](t, r, event.CallParticipantCount) {
		counts = append(counts, c.CountByRole)
	}
	want := []map[string]int{{"host": 1}, {"host": 1, "user": 1}, {"user": 1}, {}}
	if !slices.EqualFunc(counts, want, func(a, b map[string]int) bool {
		return len(a) == len(b) && a["host"] == b["host"] && a["user"] == b["user"]
	}) {
		t.Errorf("counted %v, want %v", counts, want)
	}
}

func TestKilledRunsParticipantsHaveLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	r.node.SessionStarted(session())
	r.node.ParticipantJoined(joined("ann", "user", time.Now()))
	testkit.Eventually(t, 20*time.Second, func() bool { return len(told[event.ParticipantJoined](t, r, event.CallParticipantJoined)) == 1 })
	r.newNode(t)
	left := told[event.ParticipantLeft](t, r, event.CallParticipantLeft)
	if len(left) != 1 || left[0].Reason != "connection lost" || left[0].Participant.User.ID != "ann" {
		t.Errorf("left: %+v", left)
	}
	ended := told[event.CallSession](t, r, event.CallSessionEnded)
	if len(ended) != 1 || ended[0].SessionID != "s1" || len(ended[0].Call) == 0 {
		t.Errorf("ended: %+v", ended)
	}
}

func TestWhoJoinsACallThatIsOverIsPutOut(t *testing.T) {
	t.Parallel()
	for _, column := range []string{"ended_at", "deleted_at"} {
		t.Run(column, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "auto-on")
			if _, err := r.db.NewUpdate().Model((*db.CallRow)(nil)).Set(column + " = 1").Where("cid = 'default:a'").Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.node.SessionStarted(session())
			r.node.ParticipantJoined(joined("ann", "user", time.Now()))
			testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("end default:a") })
			if r.calls.saw("on default:a") || r.call(t).FrameEgressID != "" {
				t.Error("frame recording began in a call that is over")
			}
		})
	}
}

func TestSessionOfADeletedCallEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, "auto-on")
	s := session()
	r.node.SessionStarted(s)
	testkit.Eventually(t, 20*time.Second, func() bool { return r.call(t).CurrentSessionID == "s1" })
	if _, err := r.db.NewDelete().Model((*db.CallRow)(nil)).Where("cid = 'default:a'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.EndedAt = time.Now()
	r.node.SessionEnded(s)
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("off default:a") })
}
