package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// apps run one app each until it has sent everything.
var apps = map[string]func(ctx context.Context, env []string) error{"node": node, "go": gosdk, "java": java}

// node has the app read from its standard input, so that no path is in its stack traces.
func node(ctx context.Context, env []string) error {
	return inCopy("node", func(dir string) error {
		if err := command(ctx, dir, os.Environ(), "npm", "ci"); err != nil {
			return err
		}
		app := exec.CommandContext(ctx, "node", "-")
		script, err := os.Open(filepath.Join(dir, "app.js"))
		if err != nil {
			return err
		}
		defer script.Close()
		app.Stdin = script
		return start(app, dir, env)
	})
}

func gosdk(ctx context.Context, env []string) error {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	app := filepath.Join(dir, "app")
	if err := command(ctx, ".", os.Environ(), "go", "build", "-trimpath", "-o", app, "./gosdk"); err != nil {
		return err
	}
	return command(ctx, dir, env, app)
}

func java(ctx context.Context, env []string) error {
	return inCopy("java", func(dir string) error {
		for _, step := range [][]string{
			{"mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib", "-Dmdep.stripVersion=true"},
			{"sha256sum", "--quiet", "-c", "SHA256SUMS"},
			{"javac", "-cp", "lib/*", "-d", ".", "Shop.java"},
		} {
			if err := command(ctx, dir, os.Environ(), step[0], step[1:]...); err != nil {
				return err
			}
		}
		return command(ctx, dir, env, "java", "-javaagent:lib/opentelemetry-javaagent.jar", "-cp", ".:lib/*", "Shop")
	})
}

// inCopy calls do in a copy of the folder, so that the checkout stays as it is.
func inCopy(folder string, do func(dir string) error) error {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		return err
	}
	return do(dir)
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	return start(exec.CommandContext(ctx, name, args...), dir, env)
}

func start(c *exec.Cmd, dir string, env []string) error {
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, env, os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(c.Path), err)
	}
	return nil
}
