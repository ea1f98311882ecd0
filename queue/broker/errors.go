package broker

import (
	"regexp"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func notFound(kind, name string) error {
	return status.Errorf(codes.NotFound, "%s %q does not exist", kind, name)
}

func alreadyExists(kind, name string) error {
	return status.Errorf(codes.AlreadyExists, "%s %q exists already", kind, name)
}

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

func unimplemented(what string) error {
	return status.Errorf(codes.Unimplemented, "%s is not supported by this broker", what)
}

// What takes the place of the name of a topic that was deleted.
const deletedTopic = "_deleted-topic_"

// The ids of topics, subscriptions and snapshots, after https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names.
var (
	topicName        = regexp.MustCompile(`^projects/[^/]+/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)
	snapshotName     = regexp.MustCompile(`^projects/[^/]+/snapshots/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)
	subscriptionName = regexp.MustCompile(`^projects/[^/]+/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)
)

func checkName(form *regexp.Regexp, kind, name string) error {
	if form.MatchString(name) {
		return nil
	}
	return invalid("%s name %q: want projects/PROJECT/%ss/ID, the ID of 3 to 255 letters, digits and ._~+%%-, beginning with a letter", kind, name, kind)
}
