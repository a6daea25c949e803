import { parseAllDocuments } from 'yaml';
import type { DeclaredObject, DeliveryTarget } from '../../operator/delivery/delivery.ts';
import type { GitPort } from '../../operator/ports.ts';
import { workloadNamespace } from '../../operator/render/paths.ts';
import {
  type defaultPlatform,
  instanceOwns,
  projectOwns,
  renderInstance,
  renderProject,
} from '../../operator/render/render.ts';

const organization = { metadata: { name: 'acme', uid: 'org-uid' } };
const contract = {
  offering: 'claims-agent',
  version: '1.0.0',
  secrets: [{ name: 'token', source: 'Buyer' as const }],
  connectors: [],
  limits: { runSeconds: 120 },
  plans: [],
};

/** Commits Instances of one Project of Organization acme, as the operator would. */
export class Committer {
  readonly namespace: string;
  readonly #git: Pick<GitPort, 'commit' | 'remove'>;
  readonly #project: { metadata: { name: string; uid: string }; spec: object };
  readonly #platform: ReturnType<typeof defaultPlatform>;

  constructor(
    git: Pick<GitPort, 'commit' | 'remove'>,
    { project, platform }: { project: string; platform: ReturnType<typeof defaultPlatform> },
  ) {
    this.#git = git;
    this.#project = { metadata: { name: project, uid: `${project}-uid` }, spec: {} };
    this.#platform = platform;
    this.namespace = workloadNamespace('acme', project, `${project}-uid`);
  }

  /** @param edit changes each file before it is committed */
  async project(edit: (text: string) => string = (text) => text): Promise<void> {
    const [project, platform] = [this.#project, this.#platform];
    const files = renderProject({ organization, project, projects: [project], platform });
    const edited = new Map([...files].map(([path, text]) => [path, edit(text)]));
    const owns = projectOwns({ organization, project });
    await this.#git.commit({ owns, files: edited, subject: 'project', trailers: {} });
  }

  async instance(
    name: string,
    tone: string,
    { edit = (text) => text, force }: { edit?: (text: string) => string; force?: string } = {},
  ): Promise<DeliveryTarget> {
    const input = { ...this.#input(name, tone), contract, platform: this.#platform };
    const rendered = renderInstance({ ...input, contractDigest: `sha256:${'0'.repeat(64)}` });
    const files = new Map([...rendered].map(([path, text]) => [path, edit(text)]));
    const change = { owns: instanceOwns(input), files, subject: `Instance ${name} ${tone}`, trailers: {} };
    const { commit } = await this.#git.commit(force === undefined ? change : { ...change, force });
    return {
      organization: 'acme',
      project: this.#project.metadata.name,
      instance: name,
      instanceUid: `${name}-uid`,
      workloadNamespace: this.namespace,
      commit,
      objects: [...files.values()].flatMap(declared),
    };
  }

  /** @returns the commit of the removal */
  async remove(name: string): Promise<string> {
    const owns = instanceOwns(this.#input(name, ''));
    return (await this.#git.remove({ owns, subject: `remove ${name}`, trailers: {} })).commit;
  }

  #input(name: string, tone: string) {
    const instance = { metadata: { name, uid: `${name}-uid` }, spec: { plan: 'pro', config: { tone } } };
    return { organization, project: this.#project, instance };
  }
}

function declared(text: string): DeclaredObject[] {
  return parseAllDocuments(text).map((document) => {
    const { apiVersion, kind, metadata } = document.toJS() as {
      apiVersion: string;
      kind: string;
      metadata: { name: string; annotations?: Record<string, string> };
    };
    return { group: apiVersion.split('/').slice(0, -1).join('/'), kind, ...metadata };
  });
}
