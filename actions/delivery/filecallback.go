package delivery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"stillwatch/internal/event"
)

// StyleFileCallback is the body_style of hooks that are told of finished files
// alone, in the bodies of this file. Receivers that were written for the
// callbacks of a live recorder read them as they are.
const StyleFileCallback = "file_callback"

// Values of a file callback.
const (
	callbackDone   = 3
	callbackFailed = 4
	callbackType   = "avtrans"
	callbackFine   = "success"
)

// FileCallbackWants tells whether a hook of StyleFileCallback takes events of
// the type: a file is ready, or could not be made.
func FileCallbackWants(typ string) bool {
	return typ == event.CallRecordingReady || typ == event.CallRecordingFailed
}

// hlsCallback is the body for RecordingHLS. "itmes" is how its readers spell
// the list. Beginning and end are always there; mediaSize is in bytes.
type hlsCallback struct {
	Status    int       `json:"status"`
	TaskID    string    `json:"taskid"`
	Items     []hlsItem `json:"itmes"`
	MediaSize int64     `json:"mediaSize"`
	Stream    string    `json:"stream"`
	StartTime string    `json:"starttime"`
	EndTime   string    `json:"endtime"`
}

// hlsItem is what was made of one order. Code is the status once more.
type hlsItem struct {
	Command     string   `json:"cmd"`
	Description string   `json:"desc"`
	Keys        []string `json:"keys"`
	VideoID     string   `json:"vdoid"`
	Code        int      `json:"code"`
}

// fileCallback is the body for files of one piece.
type fileCallback struct {
	TaskID  string      `json:"taskid"`
	Status  int         `json:"status"`
	Type    string      `json:"type"`
	Details fileDetails `json:"details"`
}

// fileDetails has all that is required even where it is empty. The times are
// seconds of Unix time, as text.
type fileDetails struct {
	ErrorNumber  int            `json:"errnum"`
	ErrorMessage string         `json:"errmsg"`
	Bucket       string         `json:"bucket"`
	Stream       string         `json:"stream"`
	StartTime    string         `json:"starttime"`
	EndTime      string         `json:"endtime"`
	Through      map[string]any `json:"throughParams,omitempty"`
	Items        []fileItem     `json:"items"`
}

// fileItem is one object: its key, the MD5 of its content, and a text that
// holds event.MediaInfo as JSON.
type fileItem struct {
	Path      string `json:"dstpath"`
	ETag      string `json:"ETag"`
	MediaInfo string `json:"outMediainfo"`
}

// EncodeFileCallback is the Encoder of StyleFileCallback. What is no event
// about a file is not for such a hook.
func EncodeFileCallback(_ Hook, m Message) (body []byte, wanted bool, err error) {
	if !FileCallbackWants(m.Type) {
		return nil, false, nil
	}
	body, err = FileCallback(m.Type, m.Body)
	return body, true, err
}

// FileCallback makes the body of a file callback out of an event's body.
// Events that FileCallbackWants does not want are an error.
func FileCallback(typ string, body []byte) ([]byte, error) {
	switch typ {
	case event.CallRecordingReady:
		var e event.RecordingReady
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, fmt.Errorf("read %s: %w", typ, err)
		}
		return encodeCallback(readyCallback(e))
	case event.CallRecordingFailed:
		var e event.RecordingFailed
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, fmt.Errorf("read %s: %w", typ, err)
		}
		return encodeCallback(failedCallback(e), nil)
	}
	return nil, fmt.Errorf("%s is no event about a file", typ)
}

func encodeCallback(v any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the command holds an ampersand
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write file callback: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func readyCallback(e event.RecordingReady) (any, error) {
	rec := e.CallRecording
	if rec.Format == event.RecordingHLS {
		item := hlsItem{Command: saveCommand(rec.Bucket, rec.Filename), Description: callbackFine, Keys: []string{}, VideoID: rec.IndexID, Code: callbackDone}
		for _, i := range rec.Items {
			item.Keys = append(item.Keys, i.Key)
		}
		return hlsCallback{
			Status: callbackDone, TaskID: e.EgressID, Items: []hlsItem{item}, MediaSize: rec.Size,
			Stream: e.CallCID, StartTime: unixText(rec.StartTime), EndTime: unixText(rec.EndTime),
		}, nil
	}
	media := rec.Media
	if media.Streams == nil {
		media.Streams = []event.MediaStream{}
	}
	info, err := json.Marshal(media)
	if err != nil {
		return nil, fmt.Errorf("write media info: %w", err)
	}
	items := []fileItem{}
	for _, i := range rec.Items {
		items = append(items, fileItem{Path: i.Key, ETag: i.Checksum.ETag, MediaInfo: string(info)})
	}
	return fileCallback{TaskID: e.EgressID, Status: callbackDone, Type: callbackType, Details: fileDetails{
		ErrorMessage: callbackFine, Bucket: rec.Bucket, Stream: e.CallCID, StartTime: unixText(rec.StartTime), EndTime: unixText(rec.EndTime),
		Through: e.Custom, Items: items,
	}}, nil
}

func failedCallback(e event.RecordingFailed) any {
	if e.Format == event.RecordingHLS {
		return hlsCallback{
			Status: callbackFailed, TaskID: e.EgressID, Stream: e.CallCID, StartTime: unixText(e.StartTime), EndTime: unixText(e.EndTime),
			Items: []hlsItem{{Command: saveCommand(e.Bucket, ""), Description: e.Error.Message, Keys: []string{}, VideoID: e.IndexID, Code: callbackFailed}},
		}
	}
	return fileCallback{TaskID: e.EgressID, Status: callbackFailed, Type: callbackType, Details: fileDetails{
		ErrorNumber: e.Error.Code, ErrorMessage: e.Error.Message, Bucket: e.Bucket, Stream: e.CallCID,
		StartTime: unixText(e.StartTime), EndTime: unixText(e.EndTime), Through: e.Custom, Items: []fileItem{},
	}}
}

// saveCommand names where the file was to be put, in its readers' notation.
func saveCommand(bucket, key string) string {
	return "tag=avtranstag=saveas&bucket=" + bucket + "&object=" + base64.StdEncoding.EncodeToString([]byte(key))
}

func unixText(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
