package web

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"stillwatch/web/api"
)

const (
	// maxCustom bounds an object of the application's own data, as JSON.
	maxCustom = 64 << 10
	// maxNewMembers bounds the members of one request, maxMembers those of a
	// call.
	maxNewMembers = 500
	maxMembers    = 2000
)

// checkCustom notes in fields an object that is too large.
func checkCustom(fields map[string]string, field string, custom map[string]any) {
	if raw, err := json.Marshal(custom); err != nil || len(raw) > maxCustom {
		fields[field] = fmt.Sprintf("must be at most %d bytes as JSON", maxCustom)
	}
}

// checkMembers notes in fields what is wrong with members.
func checkMembers(fields map[string]string, field string, members []api.MemberRequest) {
	if len(members) > maxNewMembers {
		fields[field] = fmt.Sprintf("must be at most %d", maxNewMembers)
	}
	for i, m := range members {
		at := fmt.Sprintf("%s[%d]", field, i)
		if !validUser(m.UserID) {
			fields[at+".user_id"] = wantUser
		}
		if m.Role != "" && !nameRE.MatchString(m.Role) {
			fields[at+".role"] = wantName
		}
		checkCustom(fields, at+".custom", m.Custom)
	}
}

// checkInstant notes in fields a time that nanoseconds in 64 bits cannot name.
func checkInstant(fields map[string]string, field string, t time.Time) {
	if !t.IsZero() && (t.Before(time.Unix(1, 0)) || t.After(time.Unix(0, math.MaxInt64))) {
		fields[field] = "must lie between 1970 and 2262"
	}
}

func orEmptyMap(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
