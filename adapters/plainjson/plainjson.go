package plainjson

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/proto/wire"
)

// Append appends m as one JSON object, on one line.
func Append(b []byte, m proto.Message) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	enc := jsontext.NewEncoder(buf)
	if err := writeMessage(enc, m.ProtoReflect()); err != nil {
		return b, fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func writeMessage(enc *jsontext.Encoder, m protoreflect.Message) error {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		return enc.WriteToken(jsontext.String(ts.AsTime().Format(time.RFC3339Nano)))
	}
	return enclose(enc, jsontext.BeginObject, jsontext.EndObject, func() error {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.ContainingOneof() != nil && !f.HasOptionalKeyword() && !m.Has(f) {
				continue
			}
			if err := enc.WriteToken(jsontext.String(string(f.Name()))); err != nil {
				return err
			}
			if err := writeField(enc, m, f); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeField(enc *jsontext.Encoder, m protoreflect.Message, f protoreflect.FieldDescriptor) error {
	switch {
	case f.HasPresence() && !m.Has(f):
		return enc.WriteToken(jsontext.Null)
	case f.IsMap():
		return writeMap(enc, m.Get(f).Map())
	case f.IsList():
		return enclose(enc, jsontext.BeginArray, jsontext.EndArray, func() error {
			list := m.Get(f).List()
			for i := range list.Len() {
				if err := writeValue(enc, f, list.Get(i)); err != nil {
					return err
				}
			}
			return nil
		})
	default:
		return writeValue(enc, f, m.Get(f))
	}
}

// writeMap writes a map<string, string>, the only kind in comanda.v1, by key.
func writeMap(enc *jsontext.Encoder, values protoreflect.Map) error {
	return enclose(enc, jsontext.BeginObject, jsontext.EndObject, func() error {
		for _, key := range sortedKeys(values) {
			if err := enc.WriteToken(jsontext.String(key)); err != nil {
				return err
			}
			value := values.Get(protoreflect.ValueOfString(key).MapKey()).String()
			if err := enc.WriteToken(jsontext.String(value)); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeValue(enc *jsontext.Encoder, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return writeMessage(enc, v.Message())
	case protoreflect.EnumKind:
		return enc.WriteToken(jsontext.String(wire.WordOf(f.Enum(), v.Enum())))
	case protoreflect.BoolKind:
		return enc.WriteToken(jsontext.Bool(v.Bool()))
	case protoreflect.StringKind:
		return enc.WriteToken(jsontext.String(v.String()))
	case protoreflect.BytesKind:
		return enc.WriteToken(jsontext.String(base64.StdEncoding.EncodeToString(v.Bytes())))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return enc.WriteToken(jsontext.Uint(v.Uint()))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return enc.WriteToken(jsontext.Float(v.Float()))
	default:
		return enc.WriteToken(jsontext.Int(v.Int()))
	}
}

func enclose(enc *jsontext.Encoder, open, end jsontext.Token, inside func() error) error {
	if err := enc.WriteToken(open); err != nil {
		return err
	}
	if err := inside(); err != nil {
		return err
	}
	return enc.WriteToken(end)
}

func sortedKeys(m protoreflect.Map) []string {
	keys := make([]string, 0, m.Len())
	for k := range m.Range {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}
