/**
 * gRPC server reflection. It serves descriptors that `buf` makes when the package is built, because proto-loader's own
 * merge the files of a package and lose imports, field names and map entries, so that no client can link them. The
 * library looks through them when it is first asked, as that takes its time.
 *
 *   FileDescriptorSet := (FileDescriptorProto 1)*
 */
import { readFileSync } from 'node:fs';
import type { Server } from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';
import { BackplaneError } from '../../errors.js';
import { builtFile } from '../../package-files.js';
import { ProtoReader } from '../protobuf.js';
import { addLazyService } from './lazy-service.js';

/** The same in both of its versions, which clients try in turn. */
const SERVICES = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];
const METHODS = { ServerReflectionInfo: { requestStream: true, responseStream: true } };

/** Lists and describes the services of backplane.v1 and grpc.health.v1. */
export function addReflection(server: Server): void {
  for (const service of SERVICES) addLazyService(server, service, METHODS, load);
}

async function load(server: Server): Promise<void> {
  const { ReflectionService } = await import('@grpc/reflection');
  const fileDescriptorProtos = ['backplane.binpb', 'health.binpb'].flatMap(fileDescriptors);
  // The library takes a whole package, but reads only this field.
  const files: Pick<MessageTypeDefinition<object, object>, 'fileDescriptorProtos'> = { fileDescriptorProtos };
  new ReflectionService({ files: files as MessageTypeDefinition<object, object> }).addToServer(server);
}

function fileDescriptors(name: string): Buffer[] {
  const reader = new ProtoReader(readBuilt(name), name);
  const files: Buffer[] = [];
  while (reader.nextTag()) {
    if (reader.field === 1) files.push(reader.chunk());
    else reader.skip();
  }
  return files;
}

function readBuilt(name: string): Buffer {
  try {
    return readFileSync(builtFile(`descriptors/${name}`));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BackplaneError('internal', `${name} is missing: build or reinstall the package (${reason})`);
  }
}
