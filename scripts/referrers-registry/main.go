// A small OCI registry with the referrers API, for tests on loopback.
//
// Blobs live on disk, because images are large; manifests live in memory, so a
// restart forgets every image.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5001", "address to serve on")
	blobs := flag.String("blobs", "", "folder that keeps the blobs")
	flag.Parse()
	if *blobs == "" {
		log.Fatal("-blobs must name a folder")
	}
	if err := os.MkdirAll(*blobs, 0o700); err != nil {
		log.Fatal(err)
	}
	handler := registry.New(
		registry.WithReferrersSupport(true),
		registry.WithBlobHandler(registry.NewDiskBlobHandler(*blobs)),
	)
	log.Fatal(http.ListenAndServe(*listen, handler))
}
