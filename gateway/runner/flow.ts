import { createHash } from 'node:crypto';
import { runnerProblem } from './problems.ts';

/** A Langflow flow document, as far as the runner reads it. */
export interface Flow {
  /** UUID under which every runtime knows it; the same for the same artifact. */
  id: string;
  name: string;
  description: string;
  data: { nodes: unknown[]; edges: unknown[] };
  /** Vertices that nothing follows, in the document's order: where answers come out. */
  terminals: { id: string; text: boolean }[];
}

interface FlowNode {
  id?: unknown;
  data?: { id?: unknown; type?: unknown };
}

/** Components whose content is the flow's answer; other terminals (a parser, a store) only happen to be last. */
const TEXT_OUTPUTS = new Set(['ChatOutput', 'TextOutput']);

/** lfx wants a UUID as flow id: version 8 (RFC 9562, custom) of the artifact's sha256, so that every runner derives the same one. */
export function flowId(sha256: string): string {
  const bytes = createHash('sha256').update(`gsv.flow/v1:${sha256}`).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Reads an artifact. @throws Problem `artifact_corrupt` when it is no flow */
export function parseFlow(bytes: Uint8Array, sha256: string): Flow {
  let document: { name?: unknown; description?: unknown; data?: { nodes?: unknown; edges?: unknown } };
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw runnerProblem('artifact_corrupt', 'the artifact is not JSON', { cause: error });
  }
  const { nodes, edges } = document?.data ?? {};
  if (!Array.isArray(nodes) || !Array.isArray(edges))
    throw runnerProblem('artifact_corrupt', 'the artifact is no flow: data.nodes and data.edges are missing');
  const followed = new Set((edges as { source?: unknown }[]).map((edge) => edge?.source));
  const terminals = (nodes as FlowNode[])
    .map((node) => ({ id: String(node?.id ?? node?.data?.id), text: TEXT_OUTPUTS.has(String(node?.data?.type)) }))
    .filter((node) => !followed.has(node.id));
  return {
    id: flowId(sha256),
    name: typeof document.name === 'string' && document.name !== '' ? document.name : `flow-${sha256.slice(0, 12)}`,
    description: typeof document.description === 'string' ? document.description : '',
    data: { ...document.data, nodes, edges },
    terminals,
  };
}
