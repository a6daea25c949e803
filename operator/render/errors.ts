/**
 * Why something cannot be rendered. None of them heals by itself: the caller treats it as terminal.
 * `profile_not_offered`: the Project's runtime profile is not built yet. `invalid_name`: a name or uid
 * that must not enter a path. `invalid_value`: a value that cannot be written as a manifest.
 * `secret_in_config`: config holds a key that the contract declares as a secret.
 */
export type RenderErrorCode = 'profile_not_offered' | 'invalid_name' | 'invalid_value' | 'secret_in_config';

/** Raised by the renderer. The message never contains a tenant's value. */
export class RenderError extends Error {
  readonly code: RenderErrorCode;
  constructor(code: RenderErrorCode, message: string) {
    super(message);
    this.name = 'RenderError';
    this.code = code;
  }
}
