// Command pack makes a module proxy out of a source tree: a folder that GOPROXY
// can name as file://…, with each module at one version.
//
//	pack -src tree -proxy folder -version v0.1.0 hub transport backplane …
//
// The arguments are the folders of modules. Where one requires another, the
// requirement is set to that version, as a release does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/zip"
)

func main() {
	src := flag.String("src", "", "the source tree, which is changed")
	proxy := flag.String("proxy", "", "the folder to fill")
	version := flag.String("version", "", "the version of every module")
	flag.Parse()
	if err := run(*src, *proxy, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(src, proxy, version string, dirs []string) error {
	if src == "" || proxy == "" || len(dirs) == 0 {
		return errors.New("usage: pack -src tree -proxy folder -version v0.1.0 module…")
	}
	if !semver.IsValid(version) {
		return fmt.Errorf("%q is no version", version)
	}
	paths := map[string]string{} // module path → folder
	for _, dir := range dirs {
		gomod, err := os.ReadFile(filepath.Join(src, dir, "go.mod"))
		if err != nil {
			return err
		}
		paths[modfile.ModulePath(gomod)] = filepath.Join(src, dir)
	}
	for path, dir := range paths {
		if err := require(dir, version, paths); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := pack(proxy, module.Version{Path: path, Version: version}, dir); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// require sets a go.mod's requirements of its siblings to a version.
func require(dir, version string, siblings map[string]string) error {
	path := filepath.Join(dir, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := modfile.Parse(path, text, nil)
	if err != nil {
		return err
	}
	for _, r := range f.Require {
		if siblings[r.Mod.Path] == "" {
			continue
		}
		if err := f.AddRequire(r.Mod.Path, version); err != nil {
			return err
		}
	}
	if text, err = f.Format(); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// pack writes the four files by which a proxy serves a version: see go help
// goproxy. Nested modules stay out of the zip.
func pack(proxy string, m module.Version, dir string) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	out := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	info := fmt.Sprintf(`{"Version":%q,"Time":%q}`, m.Version, time.Now().UTC().Format(time.RFC3339))
	for name, text := range map[string]string{
		"list":              m.Version + "\n",
		m.Version + ".info": info + "\n",
		m.Version + ".mod":  string(gomod),
	} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(out, m.Version+".zip"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := zip.CreateFromDir(f, m, dir); err != nil {
		return err
	}
	return f.Close()
}
