import type { InstanceInput } from './input.ts';
import { instanceLabels } from './labels.ts';
import { workloadNamespace } from './paths.ts';

/** What all objects of an Instance share. Their name carries a prefix so that no Instance can be called like an object of the skeleton. */
export class InstanceObject {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Record<string, string>;
  constructor(input: InstanceInput) {
    const { organization, project, instance } = input;
    this.name = `i-${instance.metadata.name}`;
    this.namespace = workloadNamespace(organization.metadata.name, project.metadata.name, project.metadata.uid);
    this.uid = instance.metadata.uid;
    this.labels = instanceLabels(organization, project, instance, input.contract.offering);
  }
}
