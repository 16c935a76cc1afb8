// Reads what somebody looked for out of a request's path.
async function main({ path, ...request }) {
  const url = new URL(path, 'http://localhost')
  const query = url.searchParams.get('q')
  return { ...request, page: decodeURIComponent(url.pathname), ...(query && { query }) }
}
