package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// This is the part of a container engine that our Dockerfile needs: it runs the build stage's commands on a copy of the tree, and
// puts together what the last stage copies. What it does not know is an error, so that nothing in the file goes unproved but the
// contents of the base image, for which this machine's Go and certificates stand.

// image is what a Dockerfile makes.
type image struct {
	root       string   // the directory of its files
	user       string   // as written
	entrypoint []string // in the exec form
	bases      []string // what the stages are from
	context    []string // the files of the tree that the build was given, relative
}

type instruction struct {
	line       int
	name, args string
	from       string // of COPY
}

// followed is the state of following a Dockerfile.
type followed struct {
	image
	tree    string            // the build context
	work    string            // what stands for the build stage's file system
	workdir string            // of the build stage
	stage   string            // name of the stage that is being followed
	args    map[string]string // given to the build
	env     []string          // those of them that the stage has asked for
}

// followDockerfile makes the image of the Dockerfile in tree within dir, which must be empty.
func followDockerfile(tree, dir string, args map[string]string) (image, error) {
	src, err := os.ReadFile(filepath.Join(tree, "Dockerfile"))
	if err != nil {
		return image{}, err
	}
	all, err := instructions(string(src))
	if err != nil {
		return image{}, err
	}
	f := &followed{tree: tree, work: filepath.Join(dir, "work"), args: args}
	f.root = filepath.Join(dir, "root")
	for _, d := range []string{f.work, f.root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return image{}, err
		}
	}
	for _, i := range all {
		if err := f.follow(i); err != nil {
			return image{}, fmt.Errorf("Dockerfile:%d: %s: %w", i.line, i.name, err)
		}
	}
	return f.image, nil
}

func instructions(src string) (all []instruction, err error) {
	var text string
	var first int
	for n, line := range strings.Split(src, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") || text == "" && strings.TrimSpace(line) == "" {
			continue
		}
		if text == "" {
			first = n + 1
		}
		text += line
		if rest, more := strings.CutSuffix(text, "\\"); more {
			text = rest
			continue
		}
		i := instruction{line: first}
		i.name, i.args, _ = strings.Cut(text, " ")
		i.args, text = strings.TrimSpace(i.args), ""
		if flag, rest, ok := strings.Cut(i.args, " "); i.name == "COPY" && ok && strings.HasPrefix(flag, "--") {
			from, ok := strings.CutPrefix(flag, "--from=")
			if !ok {
				return nil, fmt.Errorf("Dockerfile:%d: unknown flag %s", first, flag)
			}
			i.from, i.args = from, rest
		}
		all = append(all, i)
	}
	if text != "" {
		return nil, errors.New("Dockerfile ends within an instruction")
	}
	return all, nil
}

var fromLine = regexp.MustCompile(`^(?:--platform=\$BUILDPLATFORM )?(\S+?)(?: AS (\w+))?$`)

func (f *followed) follow(i instruction) error {
	final := len(f.bases) == 2
	switch i.name {
	case "FROM":
		m := fromLine.FindStringSubmatch(i.args)
		if m == nil || len(f.bases) == 2 {
			return fmt.Errorf("unknown form, or a third stage: %s", i.args)
		}
		f.bases, f.env = append(f.bases, m[1]), nil
		if len(f.bases) == 1 {
			f.stage = m[2]
		}
		return nil
	case "WORKDIR":
		if final || !path.IsAbs(i.args) {
			return errors.New("want an absolute path, in the build stage")
		}
		f.workdir = i.args
		return nil
	case "ARG":
		value, given := f.args[i.args]
		if !given {
			return fmt.Errorf("%s is not given", i.args)
		}
		f.env = append(f.env, i.args+"="+value)
		return nil
	case "RUN":
		if final {
			return errors.New("there is no shell in the last stage")
		}
		return f.run(i.args)
	case "COPY":
		words := strings.Fields(i.args)
		if len(words) < 2 {
			return errors.New("want a source and a destination")
		}
		sources, to := words[:len(words)-1], words[len(words)-1]
		switch {
		case final && i.from == f.stage && len(sources) == 1:
			return f.take(sources[0], to)
		case !final && i.from == "" && (to == "." || to == "./"):
			return f.give(sources)
		}
		return errors.New("unknown form: " + i.args)
	case "USER":
		f.user = i.args
		return nil
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(i.args), &f.entrypoint)
	}
	return errors.New("unknown instruction")
}

// run runs a command of the build stage as /bin/sh in that image would, but for the file system.
func (f *followed) run(command string) error {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = f.work
	cmd.Env = append(append(os.Environ(), "GOFLAGS=", "GOWORK=off"), f.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

// give copies from the context what .dockerignore lets through.
func (f *followed) give(sources []string) error {
	ignored, err := dockerignore(f.tree)
	if err != nil {
		return err
	}
	for _, source := range sources {
		err := filepath.WalkDir(filepath.Join(f.tree, source), func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(f.tree, file)
			if err != nil || d.IsDir() || !d.Type().IsRegular() || ignored(filepath.ToSlash(name)) {
				return err
			}
			if !slices.Contains(f.context, name) {
				f.context = append(f.context, name)
			}
			return copyFile(file, filepath.Join(f.work, name))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// take copies a file of the build stage into the image.
func (f *followed) take(from, to string) error {
	if !path.IsAbs(from) || !path.IsAbs(to) || strings.HasSuffix(to, "/") {
		return errors.New("want two absolute paths of files")
	}
	if built, ok := strings.CutPrefix(from, f.workdir+"/"); ok {
		from = filepath.Join(f.work, built)
	}
	return copyFile(from, filepath.Join(f.root, to))
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
}

// dockerignore returns whether a file, by its path in the tree, stays out of the context. The last pattern that matches counts.
func dockerignore(tree string) (func(file string) bool, error) {
	src, err := os.ReadFile(filepath.Join(tree, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	type pattern struct {
		text string
		out  bool
	}
	var all []pattern
	for _, line := range strings.Split(string(src), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		text, in := strings.CutPrefix(line, "!")
		if rest := strings.TrimPrefix(text, "**/*"); text != "*" && strings.ContainsAny(rest, "*?[") {
			return nil, fmt.Errorf(".dockerignore: unknown form %s", line)
		}
		all = append(all, pattern{text, !in})
	}
	return func(file string) (out bool) {
		for _, p := range all {
			suffix, any := strings.CutPrefix(p.text, "**/*")
			if p.text == "*" || any && strings.HasSuffix(file, suffix) || file == p.text || strings.HasPrefix(file, p.text+"/") {
				out = p.out
			}
		}
		return out
	}, nil
}
