/*
 * json_simdjson.cpp
 *		The only C++ file: simdjson's first stage behind json.h.
 *
 * simdjson picks the kernel for this machine's instruction set at run time.
 * No exceptions, no RTTI, no static constructors of our own; every failure
 * is an error code. No PostgreSQL header may be included here, because nothing
 * that longjmps may run between C++ frames.
 *
 * Memory is malloc's: a document's buffer and simdjson's array of positions, four
 * bytes for every byte of the document, of which only the part that is used
 * is ever touched.
 */
#include <cstdlib>
#include <new>

#include <simdjson.h>

#include "decode/json.h"

namespace
{

using simdjson::internal::dom_parser_implementation;

struct Parser
{
	EdwJson		json;
	char	   *buffer;
	std::unique_ptr<dom_parser_implementation> stage;
};

/* room in the smallest buffer, enough for most messages */
constexpr size_t SMALLEST = 8 * 1024;

Parser *
parser_of(EdwJson *json)
{
	return static_cast<Parser *>(json->impl);
}

void
forget_document(EdwJson *json)
{
	json->ntokens = 0;
	json->length = 0;
}

/* Give the parser room for size bytes: at least that, at most what is kept. */
EdwJsonError
reserve(Parser *parser, size_t size)
{
	size_t		capacity = SMALLEST;

	while (capacity < size && capacity < EDW_JSON_KEEP_BYTES)
		capacity *= 2;
	if (capacity < size)
		capacity = size;

	free(parser->buffer);
	parser->stage.reset();
	parser->json.capacity = 0;
	parser->json.buf = nullptr;
	parser->json.starts = nullptr;

	parser->buffer = static_cast<char *>(malloc(capacity + simdjson::SIMDJSON_PADDING));
	if (parser->buffer == nullptr)
		return EDW_JSON_NO_MEMORY;
	if (simdjson::get_active_implementation()->create_dom_parser_implementation(
			capacity, 1, parser->stage) != simdjson::SUCCESS)
		return EDW_JSON_NO_MEMORY;
	parser->json.capacity = capacity;
	return EDW_JSON_OK;
}

EdwJsonError
error_of(simdjson::error_code code)
{
	switch (code)
	{
		case simdjson::SUCCESS:
			return EDW_JSON_OK;
		case simdjson::EMPTY:
			return EDW_JSON_EMPTY;
		case simdjson::UTF8_ERROR:
			return EDW_JSON_BAD_UTF8;
		case simdjson::CAPACITY:
			return EDW_JSON_TOO_LARGE;
		case simdjson::MEMALLOC:
			return EDW_JSON_NO_MEMORY;
		default:
			return EDW_JSON_BAD_SYNTAX;
	}
}

}								/* namespace */

extern "C" EdwJson *
EdwJsonCreate(void)
{
	Parser	   *parser = new (std::nothrow) Parser();

	if (parser == nullptr)
		return nullptr;
	parser->json.impl = parser;
	return &parser->json;
}

extern "C" void
EdwJsonDestroy(EdwJson *json)
{
	if (json == nullptr)
		return;

	Parser	   *parser = parser_of(json);

	free(parser->buffer);
	delete parser;
}

extern "C" EdwJsonError
EdwJsonLoad(EdwJson *json, const char *lead, size_t lead_len,
			const char *text, size_t text_len)
{
	Parser	   *parser = parser_of(json);
	size_t		size = lead_len + text_len;
	EdwJsonError error;

	forget_document(json);
	if (size == 0)
		return EDW_JSON_EMPTY;
	if (size >= simdjson::SIMDJSON_MAXSIZE_BYTES)
		return EDW_JSON_TOO_LARGE;

	if (size > json->capacity ||
		(json->capacity > EDW_JSON_KEEP_BYTES && size <= EDW_JSON_KEEP_BYTES / 4))
	{
		error = reserve(parser, size);
		if (error != EDW_JSON_OK)
			return error;
	}

	if (lead_len > 0)
		memcpy(parser->buffer, lead, lead_len);
	if (text_len > 0)
		memcpy(parser->buffer + lead_len, text, text_len);
	memset(parser->buffer + size, 0, simdjson::SIMDJSON_PADDING);

	error = error_of(parser->stage->stage1(reinterpret_cast<const uint8_t *>(parser->buffer),
										   size, simdjson::stage1_mode::regular));
	if (error != EDW_JSON_OK)
		return error;

	json->buf = parser->buffer;
	json->starts = parser->stage->structural_indexes.get();
	json->ntokens = parser->stage->n_structural_indexes;
	json->length = static_cast<uint32_t>(size);
	return EDW_JSON_OK;
}
