package main

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page use its own files and talk to its own gateway,
// and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// assetKinds are named here because a system's own list of kinds may be wrong,
// and a browser runs no script that is not called one.
var assetKinds = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

func serveIndex(w http.ResponseWriter, r *http.Request) {
	serveFile(w, r, "page/page.html", "text/html; charset=utf-8")
}

// serveAssets serves what the page is made of, and no list of it.
func serveAssets(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	kind, ok := assetKinds[path.Ext(name)]
	if info, err := fs.Stat(pageFiles, name); !ok || err != nil || info.IsDir() {
		notFound(w, r)
		return
	}
	serveFile(w, r, name, kind)
}

func serveFile(w http.ResponseWriter, r *http.Request, name, kind string) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", kind)
	http.ServeFileFS(w, r, pageFiles, name)
}
