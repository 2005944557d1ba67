package blob

import (
	"fmt"
	"testing"

	"stillwatch/internal/testkit"
)

func BenchmarkPutS3(b *testing.B) {
	s3 := testkit.MinIO(b)
	s, err := Open(b.Context(), Config{URL: s3.URL(), AccessKey: s3.AccessKey, SecretKey: s3.SecretKey, Key: testKey})
	noErr(b, err)
	defer s.Close()
	body := make([]byte, 100_000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		noErr(b, s.Put(b.Context(), Key("frames", "default:a", fmt.Sprint(n)+".jpg"), body, "image/jpeg"))
	}
}
