-- Health of every kind of store.gsv.dev: what its conditions say, of the present generation only. The files of
-- resource_customizations/ and argocd-cm.yaml are generated from this one. Argo CD opens no library but the basic
-- one and `table`, so there is no `string` here.
local hs = { status = "Progressing", message = "The operator has not looked at it yet." }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "It is being removed."
  return hs
end

local status = obj.status
if status == nil then
  return hs
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready = found.Ready
if ready ~= nil and ready.message ~= nil and ready.message ~= "" then
  hs.message = ready.message
end

local current = status.observedGeneration == obj.metadata.generation
local suspend = obj.spec ~= nil and obj.spec.suspend == true

-- A pause that nobody asked for (no credits, end of life) is not a matter of the generation.
local effective = status.effective
if not suspend and effective ~= nil and effective.state == "Paused" and effective.cause ~= "Suspended" then
  hs.status = "Suspended"
  return hs
end

if not current then
  return hs
end

if suspend then
  hs.status = "Suspended"
  hs.message = "It is suspended."
  return hs
end

local stalled = found.Stalled
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.message or hs.message
  return hs
end

if ready ~= nil and ready.status == "True" and ready.observedGeneration == obj.metadata.generation then
  hs.status = "Healthy"
end
return hs
