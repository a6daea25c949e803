import fengari from 'fengari';

const { lua, lauxlib, lualib, to_luastring, to_jsstring } = fengari;

/** What a health check may answer. */
export interface Health {
  status: string;
  message: string;
}

/** Of the libraries that the machine has here, what Argo CD's (Lua 5.1) does not. */
const NEWER = { _G: ['rawlen', 'dofile', 'loadfile'], table: ['pack', 'unpack', 'move'] };

/**
 * Runs a health check as Argo CD does: the object as the global `obj`, the basic library and `table`, and nothing
 * else. A script that reaches for anything else fails, as it would there.
 *
 * @throws Error with Lua's own words
 */
export function runHealth(script: string, object: unknown): Health {
  const state = lauxlib.luaL_newstate();
  lauxlib.luaL_requiref(state, to_luastring('_G'), lualib.luaopen_base, 1);
  lauxlib.luaL_requiref(state, to_luastring('table'), lualib.luaopen_table, 1);
  lua.lua_settop(state, 0);
  for (const [library, names] of Object.entries(NEWER))
    for (const name of names) {
      lua.lua_getglobal(state, to_luastring(library));
      lua.lua_pushnil(state);
      lua.lua_setfield(state, -2, to_luastring(name));
      lua.lua_settop(state, 0);
    }
  push(state, object);
  lua.lua_setglobal(state, to_luastring('obj'));
  const failed =
    lauxlib.luaL_loadstring(state, to_luastring(script)) !== lua.LUA_OK || lua.lua_pcall(state, 0, 1, 0) !== lua.LUA_OK;
  if (failed) throw new Error(to_jsstring(lua.lua_tostring(state, -1)));
  return { status: field(state, 'status'), message: field(state, 'message') };
}

function field(state: unknown, name: string): string {
  lua.lua_getfield(state, -1, to_luastring(name));
  const text = lua.lua_tostring(state, -1);
  lua.lua_settop(state, -2);
  return text === null ? '' : to_jsstring(text);
}

/** JSON as Argo CD hands it over: null is nil, a list a table from 1. */
function push(state: unknown, value: unknown): void {
  if (value === null || value === undefined) lua.lua_pushnil(state);
  else if (typeof value === 'boolean') lua.lua_pushboolean(state, value);
  else if (typeof value === 'number') lua.lua_pushnumber(state, value);
  else if (typeof value === 'string') lua.lua_pushstring(state, to_luastring(value));
  else pushTable(state, Array.isArray(value) ? value.map((each, at) => [at + 1, each]) : Object.entries(value));
}

function pushTable(state: unknown, entries: readonly (readonly unknown[])[]): void {
  lua.lua_newtable(state);
  for (const [key, member] of entries) {
    push(state, key);
    push(state, member);
    lua.lua_settable(state, -3);
  }
}
