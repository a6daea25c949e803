import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { runtimeServiceName, runtimeUrl } from '../../crds/runtime.ts';
import { manifestsOf } from '../../hack/testing/rendered.ts';
import type { InstanceInput } from './input.ts';
import { defaultPlatform, RenderError, renderInstance } from './render.ts';

const image = `mirror.example.com/lfx@sha256:${'5'.repeat(64)}`;
const platform = { ...defaultPlatform('https://git.example.com/r.git', 'main'), runtime: { image } };

function render(more: Partial<InstanceInput> = {}): Map<string, string> {
  const files = renderInstance({
    organization: { metadata: { name: 'acme', uid: 'org-uid' } },
    project: { metadata: { name: 'default', uid: 'project-uid' }, spec: { runtimeProfile: 'Namespace' } },
    instance: { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'pro', config: {} } },
    contract: {
      offering: 'claims-agent',
      version: '1.0.0',
      secrets: [{ name: 'token', source: 'Buyer' }],
      connectors: [],
      limits: { runSeconds: 120 },
      plans: [{ name: 'pro', limits: { runSeconds: 300 } }],
    },
    contractDigest: `sha256:${'0'.repeat(64)}`,
    platform,
    secretVersions: [
      { name: 'token', version: 1 },
      { name: 'runtime-key', version: 1 },
    ],
    ...more,
  });
  return new Map([...manifestsOf(files).values()].map((text) => [role(text), text]));
}

/** E.g. `ExternalSecret`, and `ExternalSecret of the runtime`, whose name changes with its version. */
function role(text: string): string {
  const { kind, metadata } = parse(text) as { kind: string; metadata: { name: string } };
  return /-runtime(-\d+)?$/.test(metadata.name) ? `${kind} of the runtime` : kind;
}

interface Deployment {
  spec: {
    replicas: number;
    template: {
      metadata: { annotations: Record<string, string> };
      spec: {
        terminationGracePeriodSeconds: number;
        containers: [{ args: string[]; env: { name: string; valueFrom?: { secretKeyRef: { name: string } } }[] }];
      };
    };
  };
}

function deployment(files: Map<string, string>): Deployment['spec'] {
  return (parse(files.get('Deployment') ?? '') as Deployment).spec;
}

function changed(one: Map<string, string>, two: Map<string, string>): string[] {
  return [...new Set([...one.keys(), ...two.keys()])].filter((file) => one.get(file) !== two.get(file)).sort();
}

test('the address of a runtime is made of names alone, and is that of the rendered Service', () => {
  const files = render();
  const service = parse(files.get('Service') ?? '') as { metadata: { name: string; namespace: string } };
  const { name, namespace } = service.metadata;
  assert.is(runtimeUrl('claims', namespace), `http://${name}.${namespace}.svc:7860`);
  assert.is(name, 'i-claims');
});

test('a Service has a DNS label as name, however long the Instance’s is, and no two share one', () => {
  const long = 'a'.repeat(63);
  const names = [long, `${long.slice(0, 62)}b`, `${'a'.repeat(52)}-${'b'.repeat(10)}`].map(runtimeServiceName);
  for (const name of names) assert.match(name, /^(?=.{1,63}$)[a-z]([-a-z0-9]*[a-z0-9])?$/);
  assert.is(new Set(names).size, names.length);
  assert.is(runtimeServiceName('a'.repeat(61)), `i-${'a'.repeat(61)}`);
});

test('a paused Instance keeps everything but its pod', () => {
  assert.equal(changed(render(), render({ effective: 'Paused' })), ['Deployment']);
  assert.is(deployment(render({ effective: 'Paused' })).replicas, 0);
  assert.is(deployment(render({ effective: 'Running' })).replicas, 1);
});

test('a new version of any secret restarts the pod, and the manifests hold no value of one', () => {
  const versions = (token: number, key: number) => ({
    secretVersions: [
      { name: 'runtime-key', version: key },
      { name: 'token', version: token },
    ],
  });
  const annotation = (files: Map<string, string>) => deployment(files).template.metadata.annotations;
  const one = render(versions(1, 1));
  assert.equal(changed(render(), one), [], 'the order of versions says nothing');
  assert.equal(changed(one, render(versions(2, 1))), ['Deployment', 'ExternalSecret']);
  assert.equal(changed(one, render(versions(1, 2))), ['Deployment', 'ExternalSecret of the runtime']);
  assert.is.not(
    annotation(one)['store.gsv.dev/secret-versions'],
    annotation(render(versions(1, 2)))['store.gsv.dev/secret-versions'],
  );
});

test('a pod with a new key waits for the Secret of that version', () => {
  for (const version of [1, 2, 30]) {
    const files = render({ secretVersions: [{ name: 'runtime-key', version }] });
    const secret = parse(files.get('ExternalSecret of the runtime') ?? '') as {
      spec: { target: { name: string }; data: [{ remoteRef: { version: string } }] };
    };
    const [container] = deployment(files).template.spec.containers;
    const reference = container.env.find(({ name }) => name === 'LANGFLOW_API_KEY')?.valueFrom?.secretKeyRef.name;
    assert.is(reference, secret.spec.target.name);
    assert.is(secret.spec.data[0].remoteRef.version, String(version));
  }
});

test('a run that has just begun may end: the grace covers the plan’s run time', () => {
  assert.is(deployment(render()).template.spec.terminationGracePeriodSeconds, 5 + 300 + 30);
  const instance = { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'unknown' } };
  assert.is(deployment(render({ instance })).template.spec.terminationGracePeriodSeconds, 5 + 120 + 30);
});

test('variables come from the run, never from the pod’s environment, and tenants’ secrets are not mounted', () => {
  const [container] = deployment(render()).template.spec.containers;
  assert.ok(container.args.includes('--no-env-fallback'));
  assert.not.ok(container.args.includes('--env-fallback'));
  const secrets = container.env.filter(({ valueFrom }) => valueFrom !== undefined).map(({ name }) => name);
  assert.equal(secrets, ['LANGFLOW_API_KEY']);
});

function refusal(more: Partial<InstanceInput>): string {
  try {
    render(more);
  } catch (error) {
    if (error instanceof RenderError) return error.code;
    throw error;
  }
  return 'rendered';
}

test('an image by tag, and a contract that takes the name of the runtime’s key, are refused', () => {
  for (const tagged of [
    'lfx',
    'mirror.example.com/lfx:1.13',
    `lfx@sha256:${'5'.repeat(63)}`,
    `lfx @sha256:${'5'.repeat(64)}`,
  ]) {
    assert.is(refusal({ platform: { ...platform, runtime: { image: tagged } } }), 'invalid_value', tagged);
  }
  const secrets = [{ name: 'runtime-key', source: 'Buyer' as const }];
  const contract = { offering: 'o', version: '1.0.0', secrets, connectors: [], limits: { runSeconds: 1 }, plans: [] };
  assert.is(refusal({ contract }), 'invalid_name');
});
