/** The part of fengari that is used here; the package has no types of its own. */
declare module 'fengari' {
  const fengari: {
    lua: {
      LUA_OK: number;
      lua_settop(state: unknown, index: number): void;
      lua_getglobal(state: unknown, name: Uint8Array): void;
      lua_setglobal(state: unknown, name: Uint8Array): void;
      lua_getfield(state: unknown, index: number, name: Uint8Array): void;
      lua_setfield(state: unknown, index: number, name: Uint8Array): void;
      lua_settable(state: unknown, index: number): void;
      lua_newtable(state: unknown): void;
      lua_pushnil(state: unknown): void;
      lua_pushboolean(state: unknown, value: boolean): void;
      lua_pushnumber(state: unknown, value: number): void;
      lua_pushstring(state: unknown, value: Uint8Array): void;
      lua_pcall(state: unknown, args: number, results: number, handler: number): number;
      lua_tostring(state: unknown, index: number): Uint8Array | null;
    };
    lauxlib: {
      luaL_newstate(): unknown;
      luaL_requiref(state: unknown, name: Uint8Array, open: unknown, global: number): void;
      luaL_loadstring(state: unknown, script: Uint8Array): number;
    };
    lualib: { luaopen_base: unknown; luaopen_table: unknown };
    to_luastring(text: string): Uint8Array;
    to_jsstring(text: Uint8Array | null): string;
  };
  export default fengari;
}
