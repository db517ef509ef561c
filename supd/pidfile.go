package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// writePidfile puts our pid into a file that appears whole, by rename. A
// symbolic link in its place is followed only if nobody else can have planted
// it.
func writePidfile(path string) error {
	target, err := pidfileTarget(path)
	if err != nil {
		return err
	}
	temp := target + "." + strconv.Itoa(os.Getpid())
	_ = os.Remove(temp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, target)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// pidfileTarget is the file to be replaced: path itself, or what it links to
// if the link is root's or ours, or lies where only we can write.
func pidfileTarget(path string) (string, error) {
	var link unix.Stat_t
	err := unix.Lstat(path, &link)
	if errors.Is(err, unix.ENOENT) || err == nil && link.Mode&unix.S_IFMT != unix.S_IFLNK {
		return path, nil
	}
	if err != nil {
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	ours := link.Uid == 0 || int(link.Uid) == os.Geteuid()
	if !ours && dir.Mode().Perm()&0o002 != 0 {
		return path, nil // the link is replaced, not followed
	}
	target, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return target, err
	}
	// It leads to where nothing is yet.
	if target, err = os.Readlink(path); err != nil {
		return "", err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	return target, nil
}

// removePidfile removes the file if it is still ours.
func removePidfile(path string) {
	text, err := os.ReadFile(path)
	if err == nil && string(text) == strconv.Itoa(os.Getpid())+"\n" {
		_ = os.Remove(path)
	}
}
