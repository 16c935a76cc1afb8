// Starts a JavaScript action: launcher.js <its folder or only file> <name of its main function>. It runs in
// that folder.
//
// A file may be an ordinary script with a function of that name, a CommonJS module that exports it, or
// an ECMAScript module. A folder is what Node would load of it; there "file.name" is a function of
// another file. The main function returns an object or array, or a promise of one.
'use strict'
const fs = require('fs')
const { Module } = require('module')
const path = require('path')
const { pathToFileURL } = require('url')
const { inspect } = require('util')
const vm = require('vm')

const home = process.cwd()

// results is a copy of file descriptor 3 that processes started by the action don't inherit.
const results = fs.openSync('/dev/fd/3', 'w')
fs.closeSync(3)

function write(text) {
  const line = Buffer.from(text + '\n')
  for (let at = 0; at < line.length;) at += fs.writeSync(results, line, at)
}

// field is the value of "a.b" in an object.
function field(object, name) {
  return name.split('.').reduce((o, key) => (o == null ? undefined : o[key]), object)
}

// isModule tells whether only the syntax of ECMAScript modules is what CommonJS doesn't know.
function isModule(error) {
  return error instanceof SyntaxError && /import statement|import\.meta|token 'export'|await is only valid/.test(error.message)
}

// loadSingle loads an action that is one file. Its functions need not be exported, so its last words
// are ours.
async function loadSingle(file, name) {
  const source = fs.readFileSync(file, 'utf8')
  try {
    vm.compileFunction(source, ['exports', 'require', 'module', '__filename', '__dirname'], { filename: file })
  } catch (error) {
    if (!isModule(error)) throw error
    const copy = file.replace(/js$/, 'mjs')
    fs.copyFileSync(file, copy)
    return ofModule(await import(pathToFileURL(copy)), name)
  }
  const module = new Module(file)
  module.filename = file
  module.paths = Module._nodeModulePaths(path.dirname(file))
  const first = name.split('.')[0]
  const found = /^[A-Za-z_$][\w$]*$/.test(first) ? `\n;module.weft = typeof ${first} === 'undefined' ? {} : {'${first}': ${first}};` : ''
  module._compile(source + found, file)
  return field(module.weft, name) ?? ofModule(module.exports, name)
}

// ofModule is the function of a module. A module that is a function, or whose default is one, needs no name.
function ofModule(exports, name) {
  const all = [field(exports, name), field(exports.default, name)]
  if (name === 'main') all.push(exports, exports.default)
  return all.find((f) => typeof f === 'function')
}

async function loadFile(file) {
  try {
    return require(file)
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM' && !isModule(error)) throw error
    return import(pathToFileURL(require.resolve(file)))
  }
}

// loadFolder loads an action that is a folder.
async function loadFolder(folder, name) {
  const has = (file) => fs.existsSync(path.join(folder, file))
  const [file, ...rest] = name.split('.')
  if (rest.length && has(file + '.js')) return ofModule(await loadFile(path.join(folder, file + '.js')), rest.join('.'))
  if (has('package.json') || has('index.js')) return ofModule(await loadFile(folder), name)
  if (has('index.mjs')) return ofModule(await loadFile(path.join(folder, 'index.mjs')), name)
  throw new Error('Zipped actions must contain either package.json or index.js at the root.')
}

// failure is the answer for what an action has thrown. An object says itself what is wrong; fields that
// an Error was given, for instance a status code, are kept.
function failure(thrown) {
  if (!thrown) return { error: {} }
  if (!(thrown instanceof Error)) return { error: thrown }
  const fields = Object.keys(thrown)
  if (!fields.length) return { error: String(thrown) }
  return { error: { name: thrown.name, message: thrown.message, ...thrown } }
}

// report prints an error without the frames of this file and of Node; files have the names the user knows.
function report(error) {
  const text = inspect(error).replace(/\n\s+at [^\n]*(?:launcher\.js|node:)[^\n]*/g, '')
  console.error(text.replaceAll(home + path.sep, ''))
}

async function run(main, line) {
  const { value, ...others } = JSON.parse(line)
  for (const [name, text] of Object.entries(others)) {
    if (typeof text === 'string') process.env['__OW_' + name.toUpperCase()] = text
  }
  const result = await main(value === undefined ? {} : value)
  return JSON.stringify(result === undefined ? {} : result) ?? 'null'
}

async function answer(main, line) {
  try {
    return await run(main, line)
  } catch (error) {
    report(error)
    try {
      return JSON.stringify(failure(error))
    } catch {
      return JSON.stringify({ error: String(error) }) // it can't be JSON
    }
  }
}

// serve answers line by line, each when the one before is done, until the input ends.
async function serve(main) {
  write('{"ok":true}')
  let parts = []
  for await (const chunk of process.stdin) {
    let from = 0
    for (let end; (end = chunk.indexOf(10, from)) >= 0; from = end + 1) {
      parts.push(chunk.subarray(from, end))
      const line = Buffer.concat(parts).toString()
      parts = []
      write(await answer(main, line))
    }
    parts.push(chunk.subarray(from))
  }
  process.exit(0)
}

async function start(from, name) {
  let main
  try {
    main = await (fs.statSync(from).isFile() ? loadSingle : loadFolder)(from, name)
    if (typeof main !== 'function') throw new Error(`Action entrypoint '${name}' is not a function.`)
  } catch (error) {
    report(error)
    process.exit(1)
  }
  await serve(main)
}

start(process.argv[2], process.argv[3])
