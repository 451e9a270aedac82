// A Google Cloud Storage server for tests on loopback: fake-gcs-server, which
// keeps objects in memory, with the one part of the XML API in front that it
// lacks: a plain PUT of an object, with its condition, as object stores send it.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4443", "address to serve on")
	bucket := flag.String("bucket", "", "bucket to make")
	flag.Parse()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: *listen})
	if err != nil {
		log.Fatal(err)
	}
	if *bucket != "" {
		server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket})
	}
	log.Fatal(http.ListenAndServe(*listen, withPut(server.HTTPHandler())))
}

// withPut turns `PUT /bucket/object` into an upload of the JSON API, whose
// conditions the server checks.
func withPut(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bucket, object, found := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
		if r.Method != http.MethodPut || !found || strings.HasPrefix(r.URL.Path, "/_internal/") {
			inner.ServeHTTP(w, r)
			return
		}
		name, err := url.PathUnescape(object)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		query := url.Values{"uploadType": {"media"}, "name": {name}}
		if generation := r.Header.Get("x-goog-if-generation-match"); generation != "" {
			query.Set("ifGenerationMatch", generation)
		}
		target := "/upload/storage/v1/b/" + bucket + "/o?" + query.Encode()
		upload, err := http.NewRequestWithContext(r.Context(), http.MethodPost, target, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		upload.Host, upload.ContentLength = r.Host, r.ContentLength
		upload.Header.Set("Content-Type", "application/octet-stream")
		answer := httptest.NewRecorder()
		inner.ServeHTTP(answer, upload)
		var made struct{ Etag, Generation string }
		if answer.Code == http.StatusOK && json.Unmarshal(answer.Body.Bytes(), &made) == nil {
			w.Header().Set("ETag", made.Etag)
			w.Header().Set("x-goog-generation", made.Generation)
			w.WriteHeader(http.StatusOK)
			return
		}
		http.Error(w, answer.Body.String(), answer.Code)
	})
}
