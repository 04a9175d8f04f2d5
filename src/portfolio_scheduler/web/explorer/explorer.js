// Swagger UI on this installation's own document. It keeps no token: closing the page forgets it.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#explorer",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null, // the usual one sends the document to a host of others
  queryConfigEnabled: false, // nor may a link make this page show another document
  persistAuthorization: false,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
