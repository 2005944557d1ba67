package web

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// recordingGroups are the groups of settings in which no name may be unknown:
// whoever misspells one would otherwise believe that a call is recorded, or
// kept, in a way in which it is not. detect_orientation is what compatible
// clients send of a layout; it has no effect.
var recordingGroups = map[string]map[string]reflect.Type{
	"recording":            jsonFields(reflect.TypeFor[Recording]()),
	"individual_recording": jsonFields(reflect.TypeFor[IndividualRecording]()),
	"raw_recording":        jsonFields(reflect.TypeFor[RawRecording]()),
	"moderation_evidence":  jsonFields(reflect.TypeFor[ModerationEvidence]()),
}

var layoutNames = append(slices.Collect(maps.Keys(jsonFields(reflect.TypeFor[Layout]()))), "detect_orientation")

// unknownRecordingNames returns the names in a patch's settings of recordings
// that there are none of, with those that there are.
func unknownRecordingNames(patch json.RawMessage, prefix string) map[string]string {
	fields := map[string]string{}
	groups := namesIn(patch)
	for group, known := range recordingGroups {
		names := namesIn(groups[group])
		checkNames(fields, prefix+"."+group, names, slices.Sorted(maps.Keys(known)))
		if group == "recording" {
			checkNames(fields, prefix+".recording.layout", namesIn(names["layout"]), layoutNames)
		}
	}
	return fields
}

func checkNames(fields map[string]string, path string, names map[string]json.RawMessage, known []string) {
	for name := range names {
		if !slices.Contains(known, name) {
			fields[path+"."+name] = "is no setting; there are " + list(slices.Sorted(slices.Values(known)))
		}
	}
}

// namesIn are the members of an object, none of what is no object.
func namesIn(text json.RawMessage) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return out
}
