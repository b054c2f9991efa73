package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// protoCmd gives out the contract of the gRPC services as this binary has it.
type protoCmd struct {
	List bool   `help:"Print services and their methods instead."`
	Out  string `help:"Write the descriptor set to this file; none: to standard output." placeholder:"FILE" type:"path"`
}

// Run writes a google.protobuf.FileDescriptorSet of comanda.v1 and all that it imports.
func (c *protoCmd) Run(io *stdio) error {
	files, err := contract()
	if err != nil {
		return err
	}
	if c.List {
		return listServices(io, files)
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range files {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode the descriptor set: %w", err)
	}
	if c.Out == "" {
		_, err = io.out.Write(encoded)
		return err
	}
	return os.WriteFile(c.Out, encoded, 0o644) //nolint:gosec // the contract is no secret
}

// contract is every file of comanda.v1, and what they import, each after its imports.
func contract() ([]protoreflect.FileDescriptor, error) {
	var out []protoreflect.FileDescriptor
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		imports := f.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		out = append(out, f)
	}
	own := comandav1.File_comanda_v1_event_proto.Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(own, func(f protoreflect.FileDescriptor) bool {
		add(f)
		return true
	})
	if len(out) == 0 {
		return nil, errors.New("this binary has no contract")
	}
	return out, nil
}

func listServices(io *stdio, files []protoreflect.FileDescriptor) error {
	var lines []string
	for _, f := range files {
		services := f.Services()
		for i := range services.Len() {
			s := services.Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				stream := ""
				if m.IsStreamingServer() {
					stream = "stream "
				}
				lines = append(lines, fmt.Sprintf("%s/%s %s -> %s%s", s.FullName(), m.Name(), m.Input().Name(), stream, m.Output().Name()))
			}
		}
	}
	slices.Sort(lines)
	_, err := fmt.Fprintln(io.out, strings.Join(lines, "\n"))
	return err
}
