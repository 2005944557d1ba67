package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestFramesGoToAnExternalStorage: a call type names a storage, and the frames
// of its calls lie there, are judged from there, and are linked to there.
func TestFramesGoToAnExternalStorage(t *testing.T) {
	r := startRig(t)
	s3 := testkit.MinIO(t)
	const secret = "testkit-secret"
	body := fmt.Sprintf(`{"name":"my-s3","storage_type":"s3","bucket":%q,"path":"shots/","aws_s3":{"s3_api_key":%q,"s3_secret":%q,"s3_custom_endpoint_url":%q}}`,
		s3.Bucket, s3.AccessKey, s3.SecretKey, s3.Endpoint)
	var made struct{ Message string }
	if status := r.api("POST", "/api/v2/external_storage", body, &made); status != http.StatusCreated {
		t.Fatalf("storage is not made: %d %s", status, made.Message)
	}
	var checked struct {
		FileURL string `json:"file_url"`
		Message string
	}
	if status := r.api("GET", "/api/v2/external_storage/my-s3/check", "", &checked); status != http.StatusOK {
		t.Fatalf("check: %d %s", status, checked.Message)
	}
	if text := fetch(t, checked.FileURL); !strings.HasPrefix(string(text), "stillwatch wrote this") || !strings.HasPrefix(checked.FileURL, s3.Endpoint) {
		t.Errorf("%s holds %q", checked.FileURL, text)
	}
	if status := r.api("PUT", "/api/v2/video/calltypes/default", `{"external_storage":"my-s3"}`, nil); status != http.StatusOK {
		t.Fatalf("call type: %d", status)
	}
	r.mustJoin("default:away", "ada", clip(t, "neutral", event.VP8))
	var verdicts []db.VerdictRow
	testkit.Eventually(t, 60*time.Second, func() bool {
		verdicts = nil
		err := r.db.NewSelect().Model(&verdicts).Where("cid = ?", "default:away").Where("state <> ?", event.VerdictUnknown).Scan(t.Context())
		return err == nil && len(verdicts) >= 2 && len(r.hook.of(event.CallFrameRecordingReady)) > 0
	}, "frames are judged and told")
	var frame db.FrameRow
	if err := r.db.NewSelect().Model(&frame).Where("id = ?", verdicts[0].FrameID).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if frame.Storage != "my-s3" || frame.FallbackFrom != "" || !strings.HasPrefix(frame.ObjectKey, "@my-s3/frames/") {
		t.Errorf("the row says %q, %q, %s", frame.Storage, frame.FallbackFrom, frame.ObjectKey)
	}
	if own, err := r.blobs.Exists(t.Context(), strings.TrimPrefix(frame.ObjectKey, "@my-s3/")); own || err != nil {
		t.Errorf("the frame is in our own store: %t, %v", own, err)
	}
	// The JPEG is found where it is read when its tensors are gone.
	again := &looker{tensors: r.tensors, objects: r.stores}
	rgb, err := again.fromStore(t.Context(), event.FrameReady{FrameID: frame.ID, ObjectKey: frame.ObjectKey}, 224)
	if err != nil || len(rgb) != 224*224*3 {
		t.Errorf("%d bytes of tensor, %v", len(rgb), err)
	}
	var told event.FrameRecordingReady
	if err := json.Unmarshal(r.hook.of(event.CallFrameRecordingReady)[0].body, &told); err != nil {
		t.Fatal(err)
	}
	var list struct{ Frames []struct{ URL string } }
	r.api("GET", "/api/v2/stillwatch/frames?cid=default:away", "", &list)
	if len(list.Frames) == 0 {
		t.Fatal("no frames are listed")
	}
	for _, link := range []string{told.URL, list.Frames[0].URL} {
		if !strings.HasPrefix(link, s3.Endpoint+"/"+s3.Bucket+"/shots/frames/") {
			t.Errorf("link %s", link)
		}
		if _, err := jpeg.DecodeConfig(bytes.NewReader(fetch(t, link))); err != nil {
			t.Errorf("%s: %v", link, err)
		}
	}
	if status := r.api("DELETE", "/api/v2/external_storage/my-s3", "", nil); status != http.StatusConflict {
		t.Errorf("a storage in use is deleted: %d", status)
	}
	if got := r.stores.Stats(); got.Placed == 0 || got.FellBack != 0 {
		t.Errorf("%+v", got)
	}
	var row db.ExternalStorageRow
	if err := r.db.NewSelect().Model(&row).Scan(t.Context()); err != nil || strings.Contains(fmt.Sprint(row), secret) {
		t.Errorf("the secret is in the database: %v, %v", row, err)
	}
}

// fetch gets a link as anybody would.
func fetch(t *testing.T, link string) []byte {
	t.Helper()
	res, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", link, res.Status, err)
	}
	return body
}
